"""Migrations of the jobs' tables, run by Alembic. ``alembic revision`` starts a new one (see pyproject.toml)."""
