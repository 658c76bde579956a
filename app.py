"""Start the app: settings, build, launch. `python app.py --help` lists the flags."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from dermdemo.analysis.analyser import Analyser
from dermdemo.config import environment
from dermdemo.errors import DermdemoError
from dermdemo.ui.layout import build, launch_options


def main() -> None:
    """Read settings, load the models, serve the page."""
    settings = environment()
    parser = argparse.ArgumentParser(description="dermdemo: research use only, never a diagnosis.")
    parser.add_argument("--host", default=settings.host, help="address to bind (GRADIO_SERVER_NAME)")
    parser.add_argument("--port", type=int, default=settings.port, help="port (GRADIO_SERVER_PORT)")
    parser.add_argument("--checkpoints", type=Path, default=settings.checkpoints, help="folder of checkpoints")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    analyser, problem = None, None
    try:
        analyser = Analyser(args.checkpoints, device=args.device)
    except DermdemoError as error:
        problem = str(error)
        logging.getLogger("dermdemo").error("no models are served: %s", problem)
    print(f"dermdemo on http://{args.host}:{args.port} (research use only)", flush=True)
    build(analyser, problem=problem).launch(server_name=args.host, server_port=args.port, **launch_options())


if __name__ == "__main__":
    main()
