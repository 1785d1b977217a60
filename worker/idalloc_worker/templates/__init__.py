"""Rows that other rows are made from, and what is made from them."""

from idalloc_worker.templates._new_tags import NewTags
from idalloc_worker.templates._periods import Course, PeriodTags
from idalloc_worker.templates._watch import TemplateWatch

__all__ = ["Course", "NewTags", "PeriodTags", "TemplateWatch"]
