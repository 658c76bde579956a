"""What the VAE keeps of lesions it has not seen, beside PCA of the pixels of as many numbers."""

from __future__ import annotations

from dermdemo.diagnoses import full_name
from dermdemo.models.stored_figures import Identified, StoredReconstruction
from dermdemo.ui.evidence.gather import Evidence
from dermdemo.ui.evidence.parts import figure_table, note, number, ranged, region, section
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def kept(evidence: Evidence) -> str:
    """Reconstruction figures and whether lesions of a class are told apart; nothing where none are stored."""
    made = evidence.reconstruction
    if made is None:
        return ""
    intro = words.KEPT_N.format(images=number(made.n_images), lesions=number(made.n_lesions), split=made.split)
    said = f'<ul class="dd-said"><li>{escape(verdict(made))}</li></ul>'
    numbers = evidence.vae.latent or 0
    rows = [(escape(words.KEPT_PSNR), [ranged(f["psnr"]) for f in (made.vae, made.pca, made.difference)]),
            (escape(words.KEPT_SSIM), [ranged(f["ssim"]) for f in (made.vae, made.pca, made.difference)])]
    head = [words.METRIC_HEAD, words.KEPT_VAE.format(n=numbers), words.KEPT_PCA.format(n=made.components),
            words.KEPT_DIFFERENCE]
    foot = note(words.KEPT_NOTE.format(active=made.active_units, latent=numbers, kl=f"{made.kl:.0f}"))
    return section(words.KEPT_TITLE, f"{note(intro)}{said}{region(words.KEPT_TITLE, figure_table(head, rows))}"
                   f"{_told(made.identification)}{foot}", anchor="kept")


def verdict(made: StoredReconstruction) -> str:
    """One sentence on whether the VAE beats PCA; losing is said as plainly as winning."""
    if made.lost:
        return words.KEPT_LOSES.format(what=words.AND.join(words.KEPT_IN[name] for name in made.lost))
    return words.KEPT_WINS


def _told(found: tuple[Identified, ...]) -> str:
    """By class: how often a reconstruction is nearest to its own original."""
    if not found:
        return ""
    rows = [(f"{escape(full_name(i.label))}<small>{escape(words.KEPT_LESIONS.format(n=i.n))}</small>",
             [f"<b>{i.vae:.2f}</b>", f"<b>{i.pca:.2f}</b>"]) for i in found]
    table = figure_table([words.KEPT_CLASS, words.KEPT_VAE_SHORT, words.KEPT_PCA_SHORT], rows)
    return f"{note(words.KEPT_TOLD)}{region(words.KEPT_TOLD, table)}"
