"""The pages of the pool, which has no rows and so no place of its own in the admin."""

from django.urls import path

from experiments import pool_admin

urlpatterns = [
    path("", pool_admin.page, name="gpus"),
    path("now/", pool_admin.now, name="gpus_now"),
    path("ask/<slug:verb>/", pool_admin.ask, name="gpus_ask"),
    path("<slug:verb>/", pool_admin.act, name="gpus_act"),
]
