"""Upload a folder to the Hub: one commit on a branch, then a tag on that commit.

Every step looks first whether it is done already: a run that was cut off goes on where it was when it is repeated, and
one that is repeated after success changes nothing, whatever was published after it. Large files are stored under the
digest of their content before the commit, so those that arrived are not sent again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from ..errors import ReetError
from .bundle import is_model

BY = "Uploaded by reet publish."  # what every commit that is made here says below its title
GIVEN = {".gitattributes", "README.md"}  # what the Hub puts into a new repository
SHOWN = 5
PRICES = "https://huggingface.co/pricing"
LOG_IN = (
    "log in with `hf auth login`, or set HF_TOKEN to a token with write access (https://huggingface.co/settings/tokens)"
)


@dataclass(frozen=True)
class Published:
    """Where a folder now is on the Hub.

    Attributes:
        repo_id: The repository.
        repo_type: `model` or `space`.
        branch: The branch that was published to. Its head is `commit`, unless the tag was there already.
        commit: The commit with exactly the folder's files, 40 hexadecimal digits.
        tag: The tag on that commit.
        uploaded: Files that were added, changed or removed; 0 if all was there already.
        url: Address of the repository at the tag.
    """

    repo_id: str
    repo_type: str
    branch: str
    commit: str
    tag: str
    uploaded: int
    url: str

    def to_dict(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)


def is_id(name: str) -> bool:
    """Whether a name is the full id of a repository, `namespace/name`."""
    try:
        check_id(name)
    except ReetError:
        return False
    return True


def check_id(repo_id: str) -> None:
    """Refuse what is no full id of a repository.

    Raises:
        ReetError: If it is not `namespace/name` in the Hub's letters.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ReetError(f"`repo_id` must be an id of the Hub, got {repo_id!r}: {error}") from error
    if repo_id.count("/") != 1:
        raise ReetError(
            f"`repo_id` must be `namespace/name`, got {repo_id!r}; put your user or organization before it."
        )


def check_place(repo_id: str, *, repo_type: str = "model", branch: str = "main", api: HfApi | None = None) -> None:
    """Refuse what cannot be published to, before anything is sent.

    Args:
        repo_id, repo_type, branch, api: As for `publish`.

    Raises:
        ReetError: If there is no token or it may not write there, the name is taken by something else, or the Hub
            cannot be reached.
    """
    check_id(repo_id)
    api = api or HfApi()
    with _explained(repo_id):
        _check_rights(api, repo_id)
        _check_name(api, {"repo_id": repo_id, "repo_type": repo_type}, branch)


def publish(
    folder: Path,
    repo_id: str,
    *,
    repo_type: str = "model",
    space_sdk: str | None = None,
    branch: str = "main",
    tag: str,
    private: bool = False,
    api: HfApi | None = None,
) -> Published:
    """Make the head of a branch hold exactly the files of `folder`, by one commit at most, and tag it.

    A tag that holds these files already says that they are published, and nothing is done: the branch may have gone on.

    Args:
        folder: What `bundle.build_bundle` or `space.build_space` made.
        repo_id: Repository of the Hub, `namespace/name`; made if there is none.
        repo_type: `model` or `space`.
        space_sdk: What runs a new Space.
        branch: Made from the head of `main` if there is none.
        tag: Set on the commit when all has arrived. A tag that is there already must hold the same files.
        private: Of a new repository: whether only its owners see it.
        api: A client; by default one with the endpoint and token of this machine.

    Raises:
        ReetError: If there is no token or it may not write there, the name is taken by something else, the tag by other
            files, or the Hub cannot be reached; nothing is half done that a repetition would not complete.
    """
    api = api or HfApi()
    check_place(repo_id, repo_type=repo_type, branch=branch, api=api)
    place: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type}
    wanted = dict(_local_files(folder))
    changed: list[str] = []
    with _explained(repo_id):
        tagged = _remote_files(api, place, tag)
        if tagged is None:
            api.create_repo(**place, private=private or None, space_sdk=space_sdk, exist_ok=True)
            if branch != "main":
                api.create_branch(**place, branch=branch, exist_ok=True)
            commit = _head(api, place, branch)
            changed = _changed(_remote_files(api, place, commit) or {}, wanted)
            if changed:
                commit = _commit(api, place, branch, f"Publish {tag}", folder, changed, parent=commit)
            api.create_tag(**place, tag=tag, revision=commit)
        elif others := _changed(tagged, wanted):
            raise ReetError(
                f"`tag` must be new or hold the same files, but {tag!r} of {repo_id} has others ({_listed(others)}); "
                "raise the version, or name another tag with --tag."
            )
        else:
            commit = _head(api, place, tag)
    kind = "spaces/" if repo_type == "space" else ""
    url = f"{api.endpoint}/{kind}{repo_id}/tree/{tag}"
    return Published(repo_id, repo_type, branch, commit, tag, len(changed), url)


def _head(api: HfApi, place: dict[str, Any], revision: str) -> str:
    return str(api.repo_info(**place, revision=revision).sha)


def _commit(
    api: HfApi, place: dict[str, Any], branch: str, title: str, folder: Path, changed: list[str], parent: str
) -> str:
    """The id of one commit with the files in `changed`: those that `folder` has added or replaced, the others removed.

    The Hub refuses it if the head of the branch is no longer `parent`.
    """
    operations: list[Any] = [
        CommitOperationAdd(path, folder / path) if (folder / path).is_file() else CommitOperationDelete(path)
        for path in changed
    ]
    return api.create_commit(
        **place,
        operations=operations,
        commit_message=title,
        commit_description=BY,
        revision=branch,
        parent_commit=parent,
    ).oid


def _check_rights(api: HfApi, repo_id: str) -> None:
    """Refuse a token that cannot write to the namespace.

    What a fine-grained token may do is left for the Hub to say: the account it shows depends on the token's scopes.
    """
    account = api.whoami(cache=True)
    namespace = repo_id.split("/")[0]
    token = account.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise ReetError(
            f"Publishing needs a token that may write, but {token.get('displayName', 'yours')!r} of {account['name']} "
            f"may only read; {LOG_IN}."
        )
    spaces = [account["name"], *(organization["name"] for organization in account.get("orgs", []))]
    if token.get("role") == "write" and namespace not in spaces:
        raise ReetError(
            f"`repo_id` must be in a namespace of yours, got {repo_id!r}, but you are {account['name']} and may write "
            f"to {', '.join(spaces)}; publish as {spaces[0]}/{repo_id.split('/')[1]}, or log in as one of {namespace}."
        )


def _check_name(api: HfApi, place: dict[str, Any], branch: str) -> None:
    """Refuse a repository that holds something else: its files would be removed."""
    for revision in dict.fromkeys((branch, "main")):  # a new branch starts as `main`
        found = _remote_files(api, place, revision)
        if found is None:
            continue
        others = sorted(found.keys() - GIVEN)
        if others and not _is_own(api, place, revision, found):
            raise ReetError(
                f"`repo_id` must be a new name, or a repository published by REET, but {place['repo_id']} is taken: it "
                f"holds {_listed(others)}; choose another name, or delete that repository."
            )
        return


def _is_own(api: HfApi, place: dict[str, Any], revision: str, files: dict[str, str]) -> bool:
    """Whether a revision holds a REET model or an adapter of one, or is of a Space that was published here."""
    if place["repo_type"] == "space":
        return any(BY in commit.message for commit in api.list_repo_commits(**place, revision=revision))
    if "config.json" not in files:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        api.hf_hub_download(**place, filename="config.json", revision=revision, local_dir=scratch)
        try:
            return is_model(Path(scratch))
        except ReetError:
            return False


def _local_files(folder: Path) -> Iterator[tuple[str, set[str]]]:
    """Path in the repository of each file, and the digests it may be known by: of a git blob, and of its content."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
            yield path.relative_to(folder).as_posix(), {blob.hexdigest(), hashlib.sha256(content).hexdigest()}


def _remote_files(api: HfApi, place: dict[str, Any], revision: str) -> dict[str, str] | None:
    """Path and digest of every file at a revision; `None` if there is no such revision or repository."""
    try:
        entries = api.list_repo_tree(**place, revision=revision, recursive=True)
        files = [entry for entry in entries if isinstance(entry, RepoFile)]
    except (RevisionNotFoundError, RepositoryNotFoundError):
        return None
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def _changed(remote: dict[str, str], local: dict[str, set[str]]) -> list[str]:
    """Paths that are not the same here and there."""
    removed = remote.keys() - local.keys() - {".gitattributes"}
    return sorted({*removed, *(path for path, digests in local.items() if remote.get(path) not in digests)})


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Errors of the Hub as what they mean and what to do."""
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise ReetError(f"Publishing needs a token of the Hub, but there is none; {LOG_IN}.") from error
    except OfflineModeIsEnabled as error:
        raise ReetError("Publishing needs the Hub, but HF_HUB_OFFLINE is set; unset it.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise ReetError(f"The Hub must know your token, but refused it; {LOG_IN}.") from error
        if status == 402:
            raise ReetError(
                f"The Hub must be paid for what was asked of {repo_id} ({said(error)}); see {PRICES}, or publish to a "
                "namespace that has it."
            ) from error
        if status == 403:
            raise ReetError(
                f"Your token must be allowed to write to {repo_id}, but the Hub refuses it ({said(error)}); ask for "
                "the role 'write' in that organization, or use a token that has it."
            ) from error
        if status == 412:
            raise ReetError(
                f"The branch of {repo_id} must not change while it is published to, but somebody else has committed to "
                "it; look at what they did, and publish again."
            ) from error
        raise ReetError(
            f"The Hub could not do what was asked of {repo_id} ({said(error)}); publish again to go on: what has "
            "arrived is not sent again."
        ) from error
    except (HTTPError, ConnectionError) as error:
        raise ReetError(
            f"The connection to the Hub broke ({said(error)}); publish again: what has arrived is not sent again."
        ) from error
    except ValueError as error:
        if isinstance(error, ReetError):
            raise
        raise ReetError(f"The Hub must accept the card, but says: {said(error)}; correct README.md.") from error


def said(error: Exception) -> str:
    """What an error says, in one line; of one that the Hub explains its own words."""
    own = getattr(error, "server_message", None)
    return " ".join(str(own or error).split())
