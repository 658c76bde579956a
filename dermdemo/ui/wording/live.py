"""Words about the version that is served."""

BUSY = "Another change of the live models is under way: wait for its end and try again."
CHANGED = "Version {number} was changed while it was loaded: it is refused."
NOT_LOADED = "Version {number} could not be loaded ({why}): it is refused."
GOES_ON = "Version {number} goes on serving, as it was when it was loaded."
FIXED = "This server serves the models it was started with: no other version can be made live here."
