"""What the page does, without a browser: the handlers as plain functions, and the endpoint over HTTP."""

from __future__ import annotations

import ast
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from dermdemo.errors import ImageError
from dermdemo.ui import result, text
from dermdemo.ui.context import Context
from dermdemo.ui.examples import list_examples
from dermdemo.ui.tabs import analyse
from dermdemo.ui.uploads import Uploads
from tests.ui.conftest import ROOT, jpeg, make_context


def upload(tmp_path: Path, data: bytes, name: str = "picture.jpg") -> str:
    path = tmp_path / "uploads" / name
    path.write_bytes(data)
    return str(path)


def test_a_result_names_both_arms_their_origin_and_the_malignant_sum(context: Context) -> None:
    page = analyse.show(context, jpeg("mel", 1), "a picture").page
    for wanted in (text.arm_name("vae"), text.arm_name("imagenet"), "random, for a test", text.MALIGNANT,
                   "Melanocytic nevus", text.SEEN_TITLE, text.DETAILS_TITLE):
        assert wanted in page
    assert page != analyse.show(context, jpeg("vasc", 2), "a picture").page


def test_a_result_is_kept_under_its_key_and_is_that_of_the_page(context: Context) -> None:
    key, page = analyse.show(context, jpeg("nv", 3), "x")
    kept = context.opened(key)
    assert kept is not None and len(key) >= 24
    for prediction in kept.arms.values():
        assert text.percent(prediction.probabilities[prediction.top]) in page


def test_an_html_file_under_an_image_name_gives_a_sentence(context: Context, tmp_path: Path) -> None:
    path = upload(tmp_path, b"<html><script>alert(1)</script></html>")
    key, page = analyse.show_upload(context, path)
    assert key == "" and 'role="alert"' in page and "<script>" not in page and "Traceback" not in page


def test_no_file_gives_the_empty_state(context: Context) -> None:
    assert analyse.show_upload(context, None) == ("", result.empty())


def test_a_name_is_escaped(context: Context) -> None:
    page = analyse.show(context, jpeg("nv", 3), "<img src=x onerror=alert(1)>").page
    assert "<img src=x" not in page


def test_a_failing_model_gives_a_sentence_and_a_log_entry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def analyse(self, image: object, *, name: str = "image") -> object:
            raise RuntimeError("secret detail")

    context = make_context(Broken(), tmp_path)  # type: ignore[arg-type]
    key, page = analyse.show(context, jpeg("nv", 3), "x")
    assert key == "" and text.FAILED_INTERNAL in page and "secret detail" not in page
    assert "secret detail" in caplog.text


def test_only_the_upload_folder_is_read(context: Context, tmp_path: Path) -> None:
    uploads = context.uploads
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(jpeg("nv", 1))
    with pytest.raises(ImageError):
        uploads.read(outside)
    with pytest.raises(ImageError):
        uploads.read(tmp_path / "uploads" / ".." / "outside.jpg")


def test_an_upload_is_deleted_after_use(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    uploads = Uploads(tmp_path / "uploads", grace=600)
    path = upload(tmp_path, jpeg("nv", 1))
    uploads.read(path)
    assert Path(path).exists()
    uploads.forget_all()
    assert not Path(path).exists()


def test_every_class_has_an_example_that_says_it_is_synthetic() -> None:
    examples = list_examples()
    assert {e.label for e in examples} == {"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"}
    assert all("ynthetic" in e.name for e in examples)


def test_no_examples_and_no_models_are_said_in_words(tmp_path: Path) -> None:
    bare = make_context(None, tmp_path)
    assert list_examples(tmp_path) == ()
    assert text.NO_MODELS_TEXT in analyse.show(bare, jpeg("nv", 1), "x").page
    assert analyse.answer_api(bare, "x")["error"]["reason"] == "no-models"
    assert text.EMPTY_TITLE in result.empty()


def test_the_ui_never_imports_torch() -> None:
    files = list((ROOT / "dermdemo" / "ui").rglob("*.py"))
    assert len(files) > 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.split(".")[0] == "torch" for n in names), path


def test_the_endpoint_answers_with_the_documented_json(app: str, tmp_path: Path) -> None:
    client = Client(app, verbose=False)
    (tmp_path / "lesion.jpg").write_bytes(jpeg("bcc", 4))
    answer = client.predict(handle_file(tmp_path / "lesion.jpg"), api_name="/analyse")
    assert set(answer["arms"]) == {"vae", "imagenet"}
    assert sum(answer["arms"]["vae"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    (tmp_path / "page.jpg").write_bytes(b"<html></html>")
    refused = client.predict(handle_file(tmp_path / "page.jpg"), api_name="/analyse")
    assert refused["error"]["reason"] == "unsupported-format"


def test_only_one_endpoint_is_offered(app: str) -> None:
    assert list(Client(app, verbose=False).view_api(return_format="dict")["named_endpoints"]) == ["/analyse"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_no_machine_readable_schema_for_strangers(app: str, path: str) -> None:
    assert httpx.get(app + path).status_code == 404


def test_files_of_the_server_are_not_served(app: str) -> None:
    for path in (ROOT / "README.md", ROOT / "checkpoints" / "vae" / "meta.json"):
        assert httpx.get(f"{app}/gradio_api/file={path}").status_code in (403, 404)
