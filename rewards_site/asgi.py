import os

from django.core.asgi import get_asgi_application

from rewards_site.requests import AsgiRequest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rewards_site.settings")

application = get_asgi_application()
application.request_class = AsgiRequest
