"""What tabs share that run a model only when somebody looks: the waiting place, and errors as sentences."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from dermdemo.errors import DermdemoError
from dermdemo.ui import result, text
from dermdemo.ui.figures import escape

log = logging.getLogger(__name__)

# A waiting place inside the component asks the server once it is on the screen: after a scroll, or when its
# tab is opened. `watch` runs after every new value, so each waiting place asks once.
WHEN_SEEN = """
const seen = new IntersectionObserver((entries) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  seen.disconnect();
  trigger('select', {});
});
const look = () => {
  seen.disconnect();
  const place = element.querySelector('[data-waiting]');
  if (place) seen.observe(place);
};
watch('value', look);
look();
"""


def waiting(sentence: str) -> str:
    """Stands where pictures will be. The nonce makes each one a new value, so that the page looks again."""
    return f'<p class="dd-waiting" data-waiting="{secrets.token_hex(4)}" role="status">{escape(sentence)}</p>'


def drawn(make: Callable[[], str], title: str) -> str:
    """What `make` draws; or, under `title`, the sentence of what went wrong."""
    try:
        return make()
    except DermdemoError as error:
        return result.failure(str(error), title=title)
    except Exception:  # the page must stand whatever a model does; the log has the traceback
        log.exception("drawing on demand failed")
        return result.failure(text.FAILED_INTERNAL, title=title)


def no_models() -> str:
    """The sentence where nothing can be run."""
    return result.failure(text.NO_MODELS_TEXT, title=text.NO_MODELS_TITLE)
