"""The pages for recipients, under the namespace `pages`."""

from __future__ import annotations

from django.urls import path

from rewards_site.pages import boards, cases, rewards
from rewards_site.pages.distributions import distribution
from rewards_site.pages.me import me
from rewards_site.pages.signing_in import sign_in, sign_out
from rewards_site.pages.statements import own_statement

app_name = "pages"

urlpatterns = [
    path("login/", sign_in, name="login"),
    path("logout/", sign_out, name="logout"),
    path("me/", me, name="me"),
    path("me/rewards/", rewards.reward_list, name="rewards"),
    path("me/rewards/claim/", rewards.claim_rewards, name="claim"),
    path("me/rewards/<int:pk>/", rewards.reward, name="reward"),
    path("me/statement/", own_statement, name="statement"),
    path("leaderboard/", boards.board_list, name="leaderboards"),
    path("leaderboard/<slug:slug>/", boards.board, name="leaderboard"),
    path("distributions/<int:pk>/", distribution, name="distribution"),
    path("cases/", cases.case_list, name="cases"),
    path("cases/new/", cases.new_case, name="case_new"),
    path("cases/<int:pk>/", cases.case, name="case"),
    path("cases/<int:pk>/vote/", cases.vote, name="case_vote"),
    path("cases/<int:pk>/argue/", cases.argue, name="case_argue"),
    path("cases/<int:pk>/arguments/<int:argument_id>/like/", cases.like, name="case_like"),
    path("cases/<int:pk>/arguments/<int:argument_id>/unlike/", cases.unlike, name="case_unlike"),
]
