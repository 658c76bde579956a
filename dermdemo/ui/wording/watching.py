"""What the routes on jobs and versions say when something is not there, or may not be."""

from __future__ import annotations

NO_JOB = "There is no such job."
NO_VERSION = "There is no such version."
NO_ACTION = "There is no such action."
NO_PICTURE = "There is no picture of this run and epoch."
NO_LOG = "There is no log of this step; there are: {names}."
NONE_YET = "none yet"
NOT_BROKEN_OFF = "Job {job} is {state}: only a failed or lost one is finished with what it has reached."
MEANWHILE = ("Version {live} was made live in the meantime, by somebody else: look at it, then decide again.")
BUSY = "Another switch is under way: wait a moment, then look which version is live."
SEEN = "Say which version was live when you decided as a number, {\"live\": 3}, or nothing."
