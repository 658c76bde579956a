"""Start the app: settings, build, serve. `python app.py --help` lists the flags."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import uvicorn

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.known import KnownImages
from dermdemo.config import environment
from dermdemo.errors import DermdemoError
from dermdemo.jobs.registry import registry
from dermdemo.ui.live import LiveModels
from dermdemo.ui.server import create_app


def main() -> None:
    """Read settings, load the models, serve the pages."""
    settings = environment()
    parser = argparse.ArgumentParser(description="dermdemo: research use only, never a diagnosis.")
    parser.add_argument("--host", default=settings.host, help="address to bind (GRADIO_SERVER_NAME)")
    parser.add_argument("--port", type=int, default=settings.port, help="port (GRADIO_SERVER_PORT)")
    parser.add_argument("--checkpoints", type=Path, default=settings.checkpoints, help="folder of checkpoints")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--data", metavar="SOURCE", help="the data set of the atlas, if it is on this machine: "
                        "known lesions are then shown as their real images")
    args = parser.parse_args()
    os.environ["DERMDEMO_CHECKPOINTS"] = str(args.checkpoints)  # the jobs of the administration page start from them
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    live = LiveModels(registry(shipped=args.checkpoints), device=args.device)
    live.check()
    analyser = live.now().analyser
    if analyser is None:
        logging.getLogger("dermdemo").error("no models are served: %s", live.status().problem)
    images = known_images(args.data, analyser) if args.data else None
    live.follow()
    print(f"dermdemo on http://{args.host}:{args.port} (research use only)", flush=True)
    uvicorn.run(create_app(analyser, images=images, live=live), host=args.host, port=args.port,
                log_level="warning", access_log=False, server_header=False)


def known_images(source: str, analyser: Analyser | None) -> KnownImages | None:
    """The data set's images; None without an atlas. Ends the process if they are not those of the atlas."""
    if analyser is None or analyser.atlas is None:
        return None
    try:
        images = KnownImages(source)
        shared = images.require(map(str, analyser.atlas.columns["image_id"]))
    except DermdemoError as error:
        raise SystemExit(f"--data: {error}") from error
    logging.getLogger("dermdemo").info("%d of %d known lesions are shown as images of %s", shared,
                                       len(analyser.atlas), images.name)
    return images


if __name__ == "__main__":
    main()
