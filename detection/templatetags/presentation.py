"""Filters for templates: words and figures as ``detection.reports`` has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.html import format_html

from detection import retention
from detection.reports import card, figures, words

register = template.Library()

timecode = register.filter(figures.timecode)
decimals = register.filter(figures.decimals)
score = register.filter(figures.score)
limit = register.filter(figures.limit)
percent = register.filter(figures.percent)
needle = register.filter(figures.needle)
people = register.filter(figures.people)
crowd = register.filter(figures.crowd)
worst_first = register.filter(figures.worst_first)
verdict_word = register.filter(words.verdict_word)
short_word = register.filter(words.short_word)
statement = register.filter(words.statement)
examined = register.filter(words.examined)
human_word = register.filter(words.human_word)
human_sentence = register.filter(words.human_sentence)
decision_word = register.filter(words.decision_word)
dispute_word = register.filter(words.dispute_word)
means = register.filter(words.means)
means_not = register.filter(words.means_not)
advice = register.filter(words.advice)


@register.filter
def moment(when: datetime) -> str:
    """A day and time; static/js/times.js writes it in the reader's own time zone."""
    return format_html('<time datetime="{}">{}</time>', when.isoformat(), retention.moment(when))


@register.filter
def plot_word(name: str) -> str:
    """What a plot of the model page shows."""
    return str(card.PLOTS[name])


@register.filter
def sentence(result: dict[str, Any]) -> str:
    """What the model found, in one sentence."""
    return words.verdict_sentence(result["model_verdict"], result["score"])
