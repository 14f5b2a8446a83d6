"""The icon of a badge: an emoji, or the address of an image, which is loaded from https or the product's own files."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.utils.html import format_html
from django.utils.safestring import SafeString

LONGEST_EMOJI = 16
"""Characters: a family with skin tones takes eleven."""
OF_AN_ADDRESS = frozenset("/:.\\")


def is_image(icon: str) -> bool:
    """Whether it is the address of an image that may be loaded."""
    if any(character.isspace() or ord(character) < 32 for character in icon):
        return False
    if icon.startswith(settings.STATIC_URL):
        return ".." not in icon and "\\" not in icon
    return icon.startswith("https://") and _is_address(icon)


def check_icon(icon: str) -> None:
    """Raises `ValidationError` for an image from elsewhere, and for text that is no emoji."""
    if not icon or is_image(icon):
        return
    if OF_AN_ADDRESS & set(icon):
        raise ValidationError(
            f"An image is loaded from an address that begins with https:// or {settings.STATIC_URL}", code="icon"
        )
    if len(icon) > LONGEST_EMOJI or any(character.isascii() and character.isalpha() for character in icon):
        raise ValidationError("Choose one emoji, or write the address of an image.", code="icon")


def icon_html(icon: str) -> SafeString | str:
    """The icon for a page of ours. What may not be loaded is shown as the text that it is."""
    if not icon:
        return ""
    if is_image(icon):
        return format_html(
            '<img class="rewards-icon" src="{}" alt="" loading="lazy" referrerpolicy="no-referrer">', icon
        )
    return format_html('<span class="rewards-icon" aria-hidden="true">{}</span>', icon)


def _is_address(text: str) -> bool:
    try:
        URLValidator(schemes=["https"])(text)
    except ValidationError:
        return False
    return True
