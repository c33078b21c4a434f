"""`reet publish` with the real client against a Hub on loopback: what arrives, what is refused, and what loads back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from hub_server import Account, Hub, running
from huggingface_hub import HfApi, ModelCard, constants
from transformers import AutoTokenizer, pipeline

from reet_hf import ReetError, ReetForCompression
from reet_hf.encoders.backends import export
from reet_hf.hub import trial
from reet_hf.hub.adapter import build_adapter
from reet_hf.hub.bundle import REMOTE_CODE, build_bundle
from reet_hf.hub.checks import (
    check_card,
    check_exports,
    check_model,
    check_model_card,
    check_source,
    founded,
    numbers_in,
    try_model,
)
from reet_hf.hub.command import HOMES, find_source, kind_of, run_publish
from reet_hf.hub.merging import merge
from reet_hf.hub.publish import publish
from reet_hf.hub.space import build_space, check_space
from reet_hf.training.adapters import add_adapter, save_adapter
from reet_hf.version import __version__

TOKENS = {
    "hf_ann": Account("ann", ("acme",)),
    "hf_reader": Account("rita", ("acme",), role="read"),
    "hf_bo": Account("bo"),
    "hf_fay": Account("fay", ("acme",), role="fineGrained"),
}
TAG = f"v{__version__}"


@pytest.fixture
def hub(free_port, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the server is on this machine
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it speaks the protocol of large files before Xet
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with running(Hub(dict(TOKENS)), int(free_port)) as started:
        yield started


@pytest.fixture(scope="module")
def bundle(tiny_folder, tmp_path_factory) -> Path:
    """What is uploaded of the tiny model, with a card and scores."""
    source = tmp_path_factory.mktemp("source") / "tiny"
    shutil.copytree(tiny_folder, source)
    (source / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- reet\n---\n\n# Tiny\n", encoding="utf-8")
    (source / ".eval_results").mkdir()
    (source / ".eval_results" / "mtr.yaml").write_text("- value: 0.5\n", encoding="utf-8")
    return build_bundle(source, tmp_path_factory.mktemp("bundle") / "tiny")


def client(hub: Hub, token: str = "hf_ann") -> HfApi:
    return HfApi(endpoint=hub.address, token=token)


def send(hub: Hub, folder: Path, repo_id: str = "acme/tiny", token: str = "hf_ann", **options):
    return publish(folder, repo_id, tag=options.pop("tag", TAG), api=client(hub, token), **options)


def files_at(hub: Hub, revision: str, repo_id: str = "acme/tiny", kind: str = "model") -> dict[str, bytes]:
    found = hub.repositories[kind, repo_id]
    return {path: content for path, (content, _) in found.commits[found.resolve(revision)].items()}


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def copied(folder: Path, target: Path, **changed: str) -> Path:
    """A copy of a folder with other texts in some files."""
    shutil.copytree(folder, target)
    for name, text in changed.items():
        (target / name).write_text(text, encoding="utf-8")
    return target


def test_one_commit_holds_every_file_and_is_tagged(hub, bundle):
    done = send(hub, bundle)
    found, wanted = hub.repositories["model", "acme/tiny"], files_in(bundle)
    assert {".eval_results/mtr.yaml", "modeling_reet.py", "model.safetensors", "tokenizer.json"} <= wanted.keys()
    assert files_at(hub, TAG) == {**wanted, ".gitattributes": files_at(hub, "main")[".gitattributes"]}
    assert found.messages == ["initial commit", f"Publish {TAG}"]
    assert found.branches["main"] == found.tags[TAG] == done.commit
    assert (done.uploaded, done.url) == (len(wanted), f"{hub.address}/acme/tiny/tree/{TAG}")
    assert not found.private


def test_publishing_again_changes_nothing(hub, bundle):
    first = send(hub, bundle)
    second = send(hub, bundle)
    assert (second.commit, second.uploaded) == (first.commit, 0)
    assert len(hub.repositories["model", "acme/tiny"].messages) == 2


def test_a_broken_run_goes_on_where_it_was(hub, bundle):
    hub.breaks["/api/models/acme/tiny/commit"] = 1
    with pytest.raises(ReetError, match=r"could not do what was asked of acme/tiny \(broken\); publish again"):
        send(hub, bundle)
    assert hub.large and not hub.repositories["model", "acme/tiny"].tags
    hub.breaks["/api/models/acme/tiny/tag"] = 1
    sent = len(hub.requests)
    with pytest.raises(ReetError, match="publish again"):
        send(hub, bundle)
    assert not [path for method, path in hub.requests[sent:] if method == "PUT"], "large files are sent once"
    commits = len(hub.repositories["model", "acme/tiny"].commits)
    done = send(hub, bundle)
    found = hub.repositories["model", "acme/tiny"]
    assert found.tags == {TAG: done.commit} and len(found.commits) == commits and done.uploaded == 0


def test_a_new_version_replaces_all_files_in_one_commit(hub, bundle, tmp_path):
    first = send(hub, bundle)
    newer = copied(bundle, tmp_path / "newer", **{"handler.py": "pass\n"})
    (newer / ".eval_results" / "mtr.yaml").unlink()
    second = send(hub, newer, tag="v9.9.9")
    found = hub.repositories["model", "acme/tiny"]
    assert files_at(hub, "main").keys() - {".gitattributes"} == files_in(newer).keys()
    assert found.messages[-1] == "Publish v9.9.9" and second.uploaded == 2
    assert found.tags == {TAG: first.commit, "v9.9.9": second.commit}
    assert ".eval_results/mtr.yaml" in files_at(hub, TAG)


def test_a_tag_is_never_moved(hub, bundle, tmp_path):
    send(hub, bundle)
    newer = copied(bundle, tmp_path / "newer", **{"handler.py": "pass\n"})
    with pytest.raises(ReetError, match=rf"`tag` must be new .* '{TAG}' of acme/tiny has others \(handler.py\); raise"):
        send(hub, newer)
    assert "handler.py" not in files_at(hub, "main")


def test_a_branch_is_made_and_main_stays(hub, bundle, tmp_path):
    send(hub, bundle)
    newer = copied(bundle, tmp_path / "newer", **{"handler.py": "pass\n"})
    done = send(hub, newer, branch="next", tag="v0.2.0rc1")
    found = hub.repositories["model", "acme/tiny"]
    assert found.branches["next"] == found.tags["v0.2.0rc1"] == done.commit != found.branches["main"]
    assert "handler.py" not in files_at(hub, "main")


def test_an_older_version_again_leaves_the_branch_at_the_newer(hub, bundle, tmp_path):
    first = send(hub, bundle)
    newer = copied(bundle, tmp_path / "newer", **{"handler.py": "pass\n"})
    second, again = send(hub, newer, tag="v9.9.9"), send(hub, bundle)
    found = hub.repositories["model", "acme/tiny"]
    assert again == replace(first, uploaded=0) and again.commit == found.tags[TAG]
    assert found.branches["main"] == second.commit and found.messages[-1] == "Publish v9.9.9"


def test_what_somebody_else_commits_meanwhile_stays(hub, bundle, tmp_path):
    send(hub, bundle)
    found = hub.repositories["model", "acme/tiny"]
    theirs = {**found.commits[found.branches["main"]], "note.md": (b"theirs", False)}
    hub.before["/api/models/acme/tiny/preupload"] = lambda: found.commit("main", theirs, "a note")
    newer = copied(bundle, tmp_path / "newer", **{"handler.py": "pass\n"})
    with pytest.raises(ReetError, match="must not change while it is published to, but somebody else has committed"):
        send(hub, newer, tag="v9.9.9")
    assert files_at(hub, "main")["note.md"] == b"theirs" and found.tags.keys() == {TAG}


def test_a_new_repository_may_be_private(hub, bundle):
    send(hub, bundle, private=True)
    assert hub.repositories["model", "acme/tiny"].private


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("hf_nobody", "acme/tiny", "must know your token, but refused it; log in with `hf auth login`"),
        ("hf_reader", "acme/tiny", "token that may write, but 'a token' of rita may only read; log in"),
        ("hf_bo", "acme/tiny", "namespace of yours, got 'acme/tiny', but you are bo .* publish as bo/tiny"),
        ("hf_fay", "globex/tiny", "must be allowed to write to globex/tiny, but the Hub refuses it"),
        ("hf_ann", "tiny", "must be `namespace/name`, got 'tiny'"),
        ("hf_ann", "acme/ti ny", "must be an id of the Hub, got 'acme/ti ny'"),
    ],
)
def test_who_may_not_publish_is_told_before_anything_is_sent(hub, bundle, token, repo_id, message):
    with pytest.raises(ReetError, match=message):
        send(hub, bundle, repo_id, token)
    assert not hub.repositories and not hub.large


def test_without_a_token_the_way_to_one_is_named(hub, bundle, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ReetError, match="needs a token of the Hub, but there is none; log in with `hf auth login`"):
        publish(bundle, "acme/tiny", tag=TAG, api=HfApi(endpoint=hub.address))


def test_rights_that_only_the_hub_knows_are_explained(hub, bundle):
    hub.read_only.add("acme")
    with pytest.raises(ReetError, match="must be allowed to write to acme/tiny, but the Hub refuses it"):
        send(hub, bundle)


def test_what_a_fine_grained_token_may_do_is_for_the_hub_to_say(hub, bundle):
    assert "orgs" not in client(hub, "hf_fay").whoami()
    assert send(hub, bundle, token="hf_fay").commit == hub.repositories["model", "acme/tiny"].tags[TAG]


def test_what_must_be_paid_is_not_to_be_tried_again(hub, metric):
    hub.unpaid.add("acme")
    with pytest.raises(
        ReetError, match=r"must be paid for .* acme/page \(Subscribe to a plan .*\); see https://.*pricing"
    ):
        send(hub, metric, "acme/page", repo_type="space", space_sdk="gradio")


BERT = b'{"model_type": "bert"}'
OTHERS = {
    "weights": ("model", {"weights.gguf": b"x", "README.md": b"theirs"}, "weights.gguf"),
    "bert": ("model", {"config.json": BERT, "model.safetensors": b"x", "vocab.txt": b"x"}, "config.json, model.safet"),
    "no json": ("model", {"config.json": b"{"}, "config.json"),
    "adapter": ("model", {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "adapter_config.json"),
    "adapter of bert": (
        "model",
        {"adapter_config.json": b"{}", "config.json": BERT},
        "adapter_config.json, config.json",
    ),
    "space": ("space", {"app.py": b"pass", "README.md": b"---\nsdk: gradio\n---\n"}, "app.py"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_name_taken_by_something_else_is_left_alone(hub, bundle, kind):
    repo_type, files, told = OTHERS[kind]
    other = hub.add("acme/tiny", files, repo_type)
    with pytest.raises(ReetError, match=f"acme/tiny is taken: it holds {told}.*; choose another name, or delete"):
        send(hub, bundle, repo_type=repo_type)
    assert files_at(hub, "main", kind=repo_type) == files and len(other.commits) == 1


def test_what_a_branch_holds_is_left_alone_too(hub, bundle):
    send(hub, bundle)
    found = hub.repositories["model", "acme/tiny"]
    found.commit("gguf", {"weights.gguf": (b"x", False)}, "for another program")
    with pytest.raises(ReetError, match="is taken: it holds weights.gguf"):
        send(hub, bundle, branch="gguf", tag="v9.9.9")
    assert files_at(hub, "gguf") == {"weights.gguf": b"x"}


def test_a_model_that_was_uploaded_otherwise_is_replaced(hub, bundle):
    hub.add("acme/tiny", {"config.json": b'{"model_type": "reet"}', "optimizer.pt": b"x"})
    send(hub, bundle)
    assert files_at(hub, "main") == files_in(bundle)


def test_a_card_that_the_hub_refuses_is_shown_its_error(hub, bundle, tmp_path):
    wrong = copied(bundle, tmp_path / "wrong", **{"README.md": "---\ntags: reet\n---\n"})
    with pytest.raises(ReetError, match='must accept the card, but says: .*"tags" must be an array; correct'):
        send(hub, wrong)
    assert len(hub.repositories["model", "acme/tiny"].commits) == 1


def test_no_connection_and_offline_are_told_apart(hub, bundle, free_port, monkeypatch):
    with pytest.raises(ReetError, match="connection to the Hub broke"):
        publish(bundle, "acme/tiny", tag=TAG, api=HfApi(endpoint="http://127.0.0.1:9", token="hf_ann"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ReetError, match="HF_HUB_OFFLINE is set; unset it"):
        send(hub, bundle)


def elsewhere(hub: Hub, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of Python in another folder, for which the Hub is that of the test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_ann", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


LOAD = """
import sys
folder, packaged = sys.argv[1:3]
sys.path.insert(0, folder)
import trial
if packaged == "no":
    sys.modules["reet_hf"] = None
else:
    import reet_hf
from transformers import AutoModel, AutoTokenizer
place = {"revision": sys.argv[3], **({} if packaged == "yes" else {"trust_remote_code": True})}
model = AutoModel.from_pretrained("acme/tiny", **place).eval()
ids = AutoTokenizer.from_pretrained("acme/tiny", **place)("the visa", return_tensors="pt")["input_ids"]
answer = trial.run("acme/tiny", packaged == "yes")
print(type(model).__module__.split(".")[0], model(ids).token_states.sum().item(), answer["result"]["text"], sep="|")
"""


def test_what_was_published_loads_from_the_hub(hub, bundle, compress, tiny_model, tokenizer, tmp_path):
    """The command uploads a folder, and both users load it back through HF_ENDPOINT."""
    kept = tmp_path / "kept"
    options = ["--repo-id", "acme/tiny", "--output", str(kept)]
    done = elsewhere(hub, tmp_path, "-m", "reet_hf.cli", "publish", str(bundle), *options)
    assert json.loads(done.stdout)["commit"] == hub.repositories["model", "acme/tiny"].tags[TAG]
    assert "loads and compresses without it by its own code, with the same result" in done.stderr
    assert files_at(hub, TAG).keys() - {".gitattributes"} == files_in(kept).keys()
    states = tiny_model.reet(tokenizer("the visa", return_tensors="pt")["input_ids"]).token_states.sum().item()
    text = compress(trial.REQUEST, budget=trial.BUDGET)["text"]
    for packaged, package in (("yes", "reet_hf"), ("no", "transformers_modules")):
        told = elsewhere(hub, tmp_path, "-c", LOAD, str(Path(trial.__file__).parent), packaged, TAG)
        name, value, compressed = told.stdout.rstrip("\n").split("|", 2)
        assert name == package and float(value) == pytest.approx(states, abs=1e-3) and compressed == text


def arguments(**changed) -> SimpleNamespace:
    given = {"folder": None, "repo_id": "acme/tiny", "branch": "main", "tag": TAG, "private": False, "dry_run": True}
    return SimpleNamespace(**{**given, "output": None, **changed})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "FOLDER must be a folder"),
        (lambda folder: folder.mkdir(), r"FOLDER must hold a saved REET model or adapter \(config.json\) or a Space"),
        (
            lambda folder: (folder.mkdir(), (folder / "config.json").write_text('{"model_type": "bert"}')),
            "FOLDER must hold a saved REET model",
        ),
        (
            lambda folder: (folder.mkdir(), (folder / "config.json").write_text("{")),
            "config.json must hold JSON, but does not",
        ),
        (
            lambda folder: (folder.mkdir(), (folder / "config.json").write_text("[1]")),
            "config.json must hold a JSON object, got '\\[1\\]'",
        ),
    ],
)
def test_a_folder_that_is_no_repository_is_refused(tmp_path, make, message):
    make(tmp_path / "it")
    with pytest.raises(ReetError, match=message):
        run_publish(arguments(folder=tmp_path / "it"), os.environ)


def test_every_repository_of_the_project_has_its_folder():
    for home in HOMES:
        for folder in sorted((ROOT / home).iterdir()):
            if (folder / "README.md").is_file():
                assert find_source(f"acme/{folder.name}") == folder
                assert kind_of(folder).repo_type == ("model" if home == "reet" else "space")
    with pytest.raises(ReetError, match="nothing called 'none'"):
        find_source("acme/none")


def test_who_may_not_publish_is_told_before_the_checks(bundle, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    mine = copied(bundle, tmp_path / "mine")
    (mine / "README.md").unlink()
    with pytest.raises(ReetError, match="must have a card"):
        run_publish(arguments(folder=mine), os.environ)
    with pytest.raises(ReetError, match="needs a token of the Hub, but there is none"):
        run_publish(arguments(folder=mine, dry_run=False), os.environ)


@pytest.mark.parametrize("kind", ["bundle", "adapter", "metric"])
def test_what_lies_in_the_output_folder_is_not_uploaded(kind, request, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / ".env").write_text("SECRET=1\n")
    with pytest.raises(ReetError, match="--output must be a new or empty folder, but .*output holds something"):
        run_publish(arguments(folder=request.getfixturevalue(kind), output=output), os.environ)
    assert [path.name for path in output.iterdir()] == [".env"]


def test_a_model_that_came_with_the_package_is_published_from_a_checkout(bundle, tmp_path):
    installed = tmp_path / "site-packages" / "reet_hf"
    folder = copied(bundle, installed / "weights" / "reet-tiny")
    found = find_source("you/reet-tiny", installed)
    assert found == folder
    with pytest.raises(ReetError, match="must be a model of your own, but .*reet-tiny came with the package"):
        check_source(found, installed)


def test_a_model_of_ones_own_may_be_called_as_one_of_the_project(bundle, tmp_path):
    mine = copied(bundle, tmp_path / "reet-base")
    check_source(mine)
    assert check_model_card(mine, mine) == ["all 0 numbers of the card were measured"]


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "float32"), ("onnx", "int8"), ("openvino", "float32")])
def test_exports_travel_with_the_weights_that_they_are_of(tiny_folder, tmp_path, backend, precision):
    pytest.importorskip(backend)
    source = copied(tiny_folder, tmp_path / "source")
    written = {path.relative_to(source).as_posix() for path in export(source, backend, precision=precision)}
    folder = build_bundle(source, tmp_path / "bundle")
    assert written <= files_in(folder).keys()
    (line,) = check_exports(folder, source)
    assert line.startswith(f"its exports are of its weights: {backend}/")
    way = f"{backend} --precision int8" if precision == "int8" else backend
    other = ReetForCompression.from_pretrained(folder)
    next(other.reet.parameters()).data += 1
    other.save_pretrained(folder)
    with pytest.raises(ReetError, match=f"must be an export of the weights.* reet export {source} --backend {way}"):
        check_exports(folder, source)


def test_a_bundle_whose_code_fails_is_refused(bundle, tmp_path):
    broken = copied(bundle, tmp_path / "broken", **{"compression_pipeline.py": "raise RuntimeError('broken code')\n"})
    with pytest.raises(ReetError, match="must load without the package.*\n(.*\n)*.*broken code"):
        try_model(broken, packaged=False, environment=os.environ)


OTHER_BUDGET = """
_given = ReetCompressionPipeline.__call__


def _other(self, inputs, **options):
    return _given(self, inputs, **{**options, "budget": 0.3})


ReetCompressionPipeline.__call__ = _other
"""


def test_a_bundle_whose_code_gives_something_else_is_refused(bundle, tmp_path):
    code = (bundle / "compression_pipeline.py").read_text(encoding="utf-8")
    other = copied(bundle, tmp_path / "other", **{"compression_pipeline.py": code + OTHER_BUDGET})
    with pytest.raises(ReetError, match="same result with the package and without"):
        check_model(other, os.environ)


@pytest.mark.parametrize("name", ["reet-base", "reet-small"])
def test_the_cards_of_the_project_say_what_was_measured(name, tmp_path):
    source = ROOT / "reet" / name
    folder = build_bundle(source, tmp_path / name)
    current, numbers = check_model_card(folder, source)
    assert "eval/results" in current and int(numbers.split()[1]) > 150
    card = folder / "README.md"
    card.write_text(card.read_text(encoding="utf-8") + "\nIt keeps 99.9 % of everything.\n", encoding="utf-8")
    with pytest.raises(ReetError, match="README.md must say what .*summary/.*; run: make report"):
        check_model_card(folder, source)


def test_a_number_that_was_not_measured_is_named():
    card = ModelCard("---\nlicense: mit\n---\n\n# x\n\nIt keeps 0.912 of 40 texts, 91.3%, in 1,200 steps: 0.913.\n")
    records = [{"survival": 0.9121, "rate": 0.9128, "steps": 1200, "named": "40 texts"}]
    assert check_card(ModelCard(card.content.replace(": 0.913", "")), records) == [
        "all 4 numbers of the card were measured"
    ]
    with pytest.raises(ReetError, match=r"no results file: 0\.914 in"):
        check_card(ModelCard(card.content.replace("0.913", "0.914")), records)
    known = set(numbers_in(records))
    assert founded("0.913", known) and not founded("0.9129", known) and not founded("91.3", known)


def test_a_score_must_be_of_its_own_set_and_digits_of_a_digest_are_no_measurement():
    sets = {"a-dev": {"systems": {"reet": 0.912}}, "b-dev": {"systems": {"reet": 0.345}}}
    scores = {"sets": sets, "mean": {"answer_survival": {"reet": 0.629}}}
    records = [scores, {"loss": 0.777, "data_fingerprint": {"x": "1234567890123456"}}]
    front = "---\nlicense: mit\n---\n\n## Results\n\n"
    table = "| a-dev | 0.912 |\n| b-dev | 0.345 |\n| mean of answer survival | 0.629 |\n\nNever 0.345.\n"
    assert check_card(ModelCard(front + table + "\n## Training\n\n0.777\n"), records, scores=scores)
    for old, new in (("| 0.912", "| 0.345"), ("| 0.345", "| 0.629"), ("| 0.629", "| 0.912"), ("Never 0.345", "0.777")):
        with pytest.raises(ReetError, match=f"no results file: {new.strip('| ')} in"):
            check_card(ModelCard(front + table.replace(old, new)), records, scores=scores)
    with pytest.raises(ReetError, match="no results file: 1234567890123456 in"):
        check_card(ModelCard(front + "It has 1234567890123456 of them.\n"), records)


@pytest.mark.parametrize("name", ["README.md", "training.json", ".eval_results/own.yaml"])
def test_a_token_in_any_file_is_refused(bundle, tmp_path, name):
    mine = copied(bundle, tmp_path / "mine", **{"README.md": "---\nlicense: mit\n---\n\n# Mine\n"})
    assert check_model_card(mine, mine)
    (mine / name).parent.mkdir(exist_ok=True)
    with (mine / name).open("a", encoding="utf-8") as file:
        file.write(f"--hub_token hf_{'Ab1' * 11}\n")
    with pytest.raises(ReetError, match=rf"{name}, line \d+, must hold no token .*'hf_Ab1'; take it out"):
        check_model_card(mine, mine)


def test_the_scores_of_a_fine_tune_are_those_of_its_run(bundle, tmp_path):
    front = (
        "---\nmodel-index:\n- name: tiny\n  results:\n  - task:\n      type: token-classification\n    dataset:\n"
        "      type: own\n      name: own\n    metrics:\n    - type: kept_at_20\n      value: 0.71\n---\n\n# Mine\n"
    )
    mine = copied(bundle, tmp_path / "mine", **{"README.md": front})
    (mine / "training.json").write_text(json.dumps({"metrics": {"eval_kept_at_20": 0.71}}))
    assert check_model_card(mine, mine)
    (mine / "training.json").write_text(json.dumps({"metrics": {"eval_kept_at_20": 0.17}}))
    with pytest.raises(ReetError, match="0.71 of .* in the front matter"):
        check_model_card(mine, mine)
    (mine / "README.md").unlink()
    with pytest.raises(ReetError, match="must have a card"):
        check_model_card(mine, mine)


@pytest.fixture(scope="module")
def adapter(bundled, tmp_path_factory) -> Path:
    """An adapter of the bundled weights as a training run leaves it, untrained."""
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("adapter") / "ours"
    model = ReetForCompression.from_pretrained(bundled)
    save_adapter(add_adapter(model, {}), folder, "reet/reet-base")
    AutoTokenizer.from_pretrained(bundled).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n\n# Ours\n", encoding="utf-8")
    (folder / "optimizer.pt").touch()
    return folder


def test_an_adapter_is_published_without_its_base(hub, adapter, capsys):
    run_publish(arguments(folder=adapter), os.environ)
    told, said = capsys.readouterr()
    files = json.loads(told)["files"]
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    assert not {"model.safetensors", "modeling_reet.py", "optimizer.pt"} & set(files)
    assert "loads with its base and compresses" in said


def test_an_adapter_loads_by_its_id(hub, adapter, bundled, tmp_path):
    """The pipeline reads configuration and tokenizer of the base from the Hub; its weights come with the package."""
    config = json.loads((bundled / "config.json").read_text(encoding="utf-8"))
    files = {name: (bundled / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    hub.add("reet/reet-base", {"config.json": json.dumps({**config, **REMOTE_CODE}).encode(), **files})
    send(hub, build_adapter(adapter, tmp_path / "adapter"), "acme/ours")
    answer = json.loads(elsewhere(hub, tmp_path, "-m", trial.__name__, "acme/ours").stdout)
    ours = pipeline("reet-compression", model=str(bundled))(trial.REQUEST, budget=trial.BUDGET)
    assert answer["packages"] == ["reet_hf"] and answer["result"]["text"] == ours["text"]


def test_the_base_of_a_published_adapter_is_on_the_hub(adapter, tmp_path):
    folder = copied(adapter, tmp_path / "ours")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "/my/base"}))
    with pytest.raises(ReetError, match="must be an id of the Hub, got '/my/base'; publish the base first"):
        run_publish(arguments(folder=folder), os.environ)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ReetError, match="must hold a whole adapter, but .* has no adapter_model.safetensors"):
        run_publish(arguments(folder=folder), os.environ)


@pytest.fixture(scope="module")
def own_adapter(tiny_folder, tmp_path_factory) -> Path:
    """An adapter of a base that does not come with the package: acme/base."""
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("own_adapter") / "ours"
    save_adapter(add_adapter(ReetForCompression.from_pretrained(tiny_folder), {}), folder, "acme/base")
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n\n# Ours\n", encoding="utf-8")
    return folder


def test_an_adapter_of_a_base_of_ones_own_is_published(hub, own_adapter, tiny_folder, tmp_path):
    hub.add("acme/base", files_in(tiny_folder))
    done = elsewhere(hub, tmp_path, "-m", "reet_hf.cli", "publish", str(own_adapter), "--repo-id", "acme/ours")
    assert "loads with its base and compresses" in done.stderr
    files = files_at(hub, TAG, "acme/ours")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "acme/base"
    assert "model.safetensors" not in files


def test_the_base_of_an_adapter_must_be_had_to_try_it(own_adapter, tmp_path, monkeypatch):
    with pytest.raises(
        ReetError, match="must be a model that can be fetched, .* 'acme/base' cannot .*; publish the base"
    ):
        run_publish(arguments(folder=own_adapter), os.environ)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme" / "base").mkdir(parents=True)
    (tmp_path / "acme" / "base" / "config.json").write_bytes(BERT)
    with pytest.raises(ReetError, match="must be a REET model, but 'acme/base' is none"):
        run_publish(arguments(folder=own_adapter), os.environ)


@pytest.mark.parametrize("name", ["/nope", "nope", "./no/pe"])
def test_what_is_to_be_merged_must_be_there(name, tmp_path):
    with pytest.raises(
        ReetError, match=f"ADAPTER must be a folder or an id of the Hub, got '{name}': there is no such"
    ):
        merge(name, tmp_path / "merged")


@pytest.fixture
def metric(tmp_path) -> Path:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "eval/metrics/answer_survival", source)
    (source / "__pycache__").mkdir(exist_ok=True)
    (source / "__pycache__" / "old.pyc").touch()
    (source / ".secret").touch()
    return build_space(source, tmp_path / "answer_survival")


def test_the_space_of_a_metric_works_and_is_published(hub, metric, capsys, tmp_path):
    pytest.importorskip("gradio")
    pytest.importorskip("evaluate")
    assert not [path for path in files_in(metric) if "pycache" in path or path == ".secret"]
    run_publish(arguments(folder=metric), os.environ)
    told, said = capsys.readouterr()
    assert json.loads(told)["files"] == sorted(files_in(metric)) and not hub.requests
    for line in ("a space of", "every field", "its page comes up and answers to /compute", "Nothing was uploaded"):
        assert line in said
    done = send(hub, metric, "acme/answer_survival", repo_type="space", space_sdk="gradio")
    assert hub.repositories["space", "acme/answer_survival"].sdk == "gradio"
    assert files_at(hub, TAG, "acme/answer_survival", "space").keys() - {".gitattributes"} == files_in(metric).keys()
    assert done.url == f"{hub.address}/spaces/acme/answer_survival/tree/{TAG}"
    code = (
        "import evaluate, json, sys; fields = json.load(open(sys.argv[1])); "
        "print(evaluate.load('acme/answer_survival').compute(**fields))"
    )
    (metric / "more.txt").write_text("more\n")
    again = send(hub, metric, "acme/answer_survival", repo_type="space", space_sdk="gradio", tag="v9.9.9")
    assert again.uploaded == 1 and again.commit != done.commit
    scores = elsewhere(hub, tmp_path, "-c", code, str(metric / "example.json")).stdout
    assert "answer_survival" in scores


def test_the_page_of_the_demo_comes_up(tmp_path):
    pytest.importorskip("gradio")
    _, page = check_space(build_space(ROOT / "spaces/reet-demo", tmp_path / "demo"), os.environ)
    assert "/compress" in page


def test_a_space_carries_the_files_of_the_checkout_that_it_lists(tmp_path):
    built = build_space(ROOT / "spaces/reet-demo", tmp_path / "demo")
    listed = (ROOT / "spaces/reet-demo/from_checkout.txt").read_text(encoding="utf-8").split()
    assert listed and all((built / name).exists() for name in listed)
    adapter = "eval/baselines/llmlingua2-recipe/adapter_model.safetensors"
    assert (built / adapter).read_bytes() == (ROOT / adapter).read_bytes()
    assert not {path for path in files_in(built) if "pycache" in path or path == "from_checkout.txt"}


def test_a_space_that_lists_what_is_not_there_is_refused(tmp_path):
    source = tmp_path / "spaces" / "page"
    source.mkdir(parents=True)
    (source / "from_checkout.txt").write_text("# why\neval/nothing.py\n", encoding="utf-8")
    with pytest.raises(ReetError, match="eval/nothing.py, which is not in"):
        build_space(source, tmp_path / "built")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("README.md", "emoji: 🎯\n", "", "lacks emoji"),
        (
            "README.md",
            "short_description: Share",
            f"short_description: {'long ' * 12}Share",
            "at most 60 characters, got",
        ),
        ("README.md", "app_file: app.py", "app_file: page.py", "lacks page.py"),
        ("README.md", "sdk: gradio", "sdk: docker", "`sdk` in .* must be gradio, got 'docker'"),
        ("app.py", "import json", "import nothing_like_it", "must come up.*\n(.*\n)*.*nothing_like_it"),
    ],
)
def test_a_space_that_would_not_run_is_refused(metric, file, old, new, message):
    if file == "app.py":
        pytest.importorskip("gradio")
    text = (metric / file).read_text(encoding="utf-8")
    assert old in text
    (metric / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ReetError, match=message):
        check_space(metric, os.environ)
