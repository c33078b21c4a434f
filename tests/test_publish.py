"""`reet publish` with the real client against a Hub on loopback: what arrives, what is refused, and what loads back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from hub_server import Account, Hub, running
from huggingface_hub import HfApi, ModelCard, constants
from transformers import AutoTokenizer, pipeline

from reet_hf import ReetError, ReetForCompression
from reet_hf.hub import trial
from reet_hf.hub.adapter import build_adapter
from reet_hf.hub.bundle import REMOTE_CODE, build_bundle
from reet_hf.hub.checks import check_card, check_model, check_model_card, founded, numbers_in, try_model
from reet_hf.hub.command import HOMES, find_source, kind_of, run_publish
from reet_hf.hub.publish import publish
from reet_hf.hub.space import build_space, check_space
from reet_hf.training.adapters import add_adapter, save_adapter
from reet_hf.version import __version__

TOKENS = {
    "hf_ann": Account("ann", ("acme",)),
    "hf_reader": Account("rita", ("acme",), role="read"),
    "hf_bo": Account("bo"),
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


def test_a_new_repository_may_be_private(hub, bundle):
    send(hub, bundle, private=True)
    assert hub.repositories["model", "acme/tiny"].private


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("hf_nobody", "acme/tiny", "must know your token, but refused it; log in with `hf auth login`"),
        ("hf_reader", "acme/tiny", "token that may write, but 'a token' of rita may only read; log in"),
        ("hf_bo", "acme/tiny", "namespace of yours, got 'acme/tiny', but you are bo .* publish as bo/tiny"),
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


def test_a_name_taken_by_something_else_is_left_alone(hub, bundle):
    other = hub.add("acme/tiny", {"weights.gguf": b"x", "README.md": b"theirs"})
    with pytest.raises(ReetError, match="acme/tiny is taken: it holds weights.gguf; choose another name"):
        send(hub, bundle)
    assert len(other.commits) == 1


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


def test_a_bundle_whose_code_fails_is_refused(bundle, tmp_path):
    broken = copied(bundle, tmp_path / "broken", **{"compression.py": "raise RuntimeError('broken code')\n"})
    with pytest.raises(ReetError, match="must load without the package.*\n(.*\n)*.*broken code"):
        try_model(broken, packaged=False, environment=os.environ)


OTHER_BUDGET = """
_given = ReetCompressionPipeline.__call__


def _other(self, inputs, **options):
    return _given(self, inputs, **{**options, "budget": 0.3})


ReetCompressionPipeline.__call__ = _other
"""


def test_a_bundle_whose_code_gives_something_else_is_refused(bundle, tmp_path):
    code = (bundle / "compression.py").read_text(encoding="utf-8")
    other = copied(bundle, tmp_path / "other", **{"compression.py": code + OTHER_BUDGET})
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


@pytest.fixture
def metric(tmp_path) -> Path:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "eval/metrics/answer_survival", source)
    (source / "__pycache__").mkdir(exist_ok=True)
    (source / "__pycache__" / "old.pyc").touch()
    (source / ".secret").touch()
    return build_space(source, tmp_path / "answer_survival")


def test_the_space_of_a_metric_works_and_is_published(hub, metric, capsys, tmp_path):
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
    scores = elsewhere(hub, tmp_path, "-c", code, str(metric / "example.json")).stdout
    assert "answer_survival" in scores


def test_the_page_of_the_demo_comes_up(tmp_path):
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
        ("app.py", "import json", "import nothing_like_it", "must come up.*\n(.*\n)*.*nothing_like_it"),
    ],
)
def test_a_space_that_would_not_run_is_refused(metric, file, old, new, message):
    text = (metric / file).read_text(encoding="utf-8")
    assert old in text
    (metric / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ReetError, match=message):
        check_space(metric, os.environ)
