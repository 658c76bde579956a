"""Words of the Administration entry."""

TITLE = "Administration"
CLOSED_TITLE = "Administration is closed"
CLOSED_TEXT = (
    "No administrator's password is set on this server, so nobody is an administrator and nothing here can be "
    "changed from the page. To open it:"
)
STEPS = (
    ("On the server, in the folder of the app, set a password of 12 characters or more. Only its argon2id hash is "
     "kept.",
     "python -m dermdemo admin set-password"),
    ("Or give the hash in an environment variable, as containers do; it goes before the file.",
     "DERMDEMO_ADMIN_HASH='$argon2id$v=19$…'"),
    ("Then restart the app.", "python app.py"),
)  # fmt: skip
PROBLEM_TITLE = "Administration is closed: its credential cannot be used"
OPEN_TITLE = "Administration"
OPEN_TEXT = (
    "Train new models on your own data, watch them learn, compare them with the live ones, promote or roll back. "
    "It is a page of its own, behind the administrator's password."
)
OPEN_LINK = "Open administration"
OPEN_ADDRESS = "/administration"
COMMANDS_TITLE = "The same on the command line"
COMMANDS = (
    ("Stage I: the VAE, without labels",
     "python -m dermdemo pretrain SOURCE --preset quick --store STORE --name vae"),
    ("Stage II: both arms, the same recipe",
     "python -m dermdemo train SOURCE --arm vae --preset quick --store STORE\n"
     "python -m dermdemo train SOURCE --arm imagenet --weights ENCODER --preset quick --store STORE"),
    ("Test figures, pixel baseline and card of each",
     "python -m dermdemo evaluate STORE/vae-arm SOURCE --out runs/vae-arm --save\n"
     "python -m dermdemo evaluate STORE/imagenet-arm SOURCE --out runs/imagenet-arm --save"),
    ("The study, kept with the checkpoints",
     "python -m dermdemo compare runs/vae-arm runs/imagenet-arm --save STORE"),
    ("The atlas of known lesions", "python -m dermdemo embed SOURCE --checkpoints STORE"),
    ("Serve them", "python app.py --checkpoints STORE"),
    ("Or all of it as a job beside the live models, compared with them before anything is switched",
     "python -m dermdemo data register FOLDER\n"
     "python -m dermdemo jobs launch d0001\n"
     "python -m dermdemo models promote 1"),
)  # fmt: skip
