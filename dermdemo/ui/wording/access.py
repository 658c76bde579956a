"""Words of the logins of administrator and visitors."""

NO_SESSION = "You are not logged in, or your session has ended. Log in again."
NO_CSRF = "This page is out of date: its proof that you meant to do this is missing or wrong. Load it again."
CROSS_SITE = ("This request came from another site, or does not say where it came from. A proxy in between must pass "
              "on the Host header and X-Forwarded-Proto.")
PLAIN_HTTP = ("Passwords are taken over https only, or on the machine that runs the app. Open the page over https, "
              "through an ssh tunnel, or set DERMDEMO_ADMIN_HTTP=1 on a network that you trust.")
CLOSED = "There is no usable password on this server any more, so nobody can log in. Set one and restart the app."
WRONG = "That is not the password."
LOCKED = "Too many wrong passwords from this address. Nothing more is tried from here for {minutes} minutes."
BRAKE = "Too many wrong passwords were given to this server. It takes the next one in {seconds} seconds."
BUSY = "Another login from this address is being checked. Try again in a moment."
BAD_LOGIN = "A login is a JSON object with a name and a password."
BAD_NAME = "Give the name that the audit log shall show: 1 to 80 visible characters."
TOO_BIG = "The request is larger than what is taken here ({limit} bytes)."
NOTHING_HERE = "There is nothing at this address."
FAILED = "Something went wrong on the server; its log says what."
BAD_REQUEST = "The request cannot be read: {where} {why}."
