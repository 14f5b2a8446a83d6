import os

from django.core.wsgi import get_wsgi_application

from rewards_site.requests import WsgiRequest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rewards_site.settings")

application = get_wsgi_application()
application.request_class = WsgiRequest
