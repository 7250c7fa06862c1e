"""Reads that pages and API share. A stranger's analysis does not exist."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.shortcuts import get_object_or_404

from detection.models import Analysis, AnalysisQuerySet

Reader = AbstractBaseUser | AnonymousUser


def analyses_of(user: Reader) -> AnalysisQuerySet:
    """Everything that this user may see, newest first, in one query with the uploads."""
    return Analysis.objects.visible_to(user).select_related("upload").defer("points")


def get_analysis(user: Reader, analysis_id: uuid.UUID) -> Analysis:
    """Fetch and authorise in one call. Raises Http404 for a stranger's as for none."""
    return get_object_or_404(Analysis.objects.visible_to(user).select_related("upload"), pk=analysis_id)


def find_analysis(user: Reader, analysis_id: uuid.UUID) -> Analysis | None:
    """The same for those who do not speak HTTP."""
    return Analysis.objects.visible_to(user).select_related("upload").filter(pk=analysis_id).first()
