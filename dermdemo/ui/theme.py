"""The app's own theme: quiet slate and teal, light and dark, fonts of the visitor's system only.

Gradio turns these into CSS variables; `styles/` builds on the same variables, so one change here
moves both. No font, script or picture comes from another host.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLES = Path(__file__).with_name("styles")
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

TEAL = gr.themes.Color(
    name="teal",
    c50="#eef7f7", c100="#d7ecec", c200="#b1dadb", c300="#83c1c4", c400="#54a3a8", c500="#37868c", c600="#2b6e74",
    c700="#24595f", c800="#20484d", c900="#1d3c41", c950="#0e2529",
)  # fmt: skip
SLATE = gr.themes.Color(
    name="slate",
    c50="#f7f9fa", c100="#eef1f3", c200="#dfe4e8", c300="#c6ced4", c400="#94a1ab", c500="#67757f", c600="#4c5962",
    c700="#37424a", c800="#222b31", c900="#171e23", c950="#0f1418",
)  # fmt: skip


def styles() -> list[Path]:
    """Style sheets in order: `base.css`, then those of the tabs."""
    return [STYLES / "base.css", *sorted(p for p in STYLES.glob("*.css") if p.name != "base.css")]


def build_theme() -> gr.themes.Base:
    """The theme handed to Gradio."""
    theme = gr.themes.Base(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue=SLATE,
        text_size="md",
        spacing_size="md",
        radius_size="lg",
        font=SYSTEM_FONTS,
        font_mono=SYSTEM_MONO,
    )
    return theme.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_800",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_700",
        border_color_accent="*primary_400",
        border_color_accent_dark="*primary_500",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*primary_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_label_background_fill="white",
        block_label_background_fill_dark="*neutral_900",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        layout_gap="16px",
        loader_color="*primary_500",
    )
