"""Everything is in the admin."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from experiments import dashboard_admin

handler403 = "experiments.error_pages.refused"
handler404 = "experiments.error_pages.not_found"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/dashboard/now/", dashboard_admin.now, name="dashboard_now"),
    path("admin/gpus/", include("experiments.urls")),
    path("admin/", admin.site.urls),
]
