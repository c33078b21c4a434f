"""A Hub on loopback: accounts, repositories with commits, branches, tags, large files, and downloads.

It speaks the part of the Hub's HTTP interface that `huggingface_hub` uses to create, upload and fetch, and keeps all in
memory. Tests look into `Hub` and say what it refuses or where it breaks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import yaml
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

LARGE = 10_000_000  # bytes from which a file is stored as a large one, whatever its name
LARGE_NAMES = (".safetensors", ".bin", ".onnx")
DATE = "2026-01-01T00:00:00.000Z"  # of every commit
PREFIXES = {"spaces": "space", "datasets": "dataset"}
Files = dict[str, tuple[bytes, bool]]  # path to content, and whether it is a large file


class Refused(Exception):
    """What is answered with an error.

    Args:
        status: HTTP status.
        message: Shown to the user.
        code: The Hub's own code, if it has one.
    """

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass
class Account:
    """Who a token belongs to, and what it may do.

    Attributes:
        name: Of the user.
        organizations: Where it may write beside that.
        role: `read`, `write`, or `fineGrained`: of such a token the Hub tells scopes, and no organizations.
    """

    name: str
    organizations: tuple[str, ...] = ()
    role: str = "write"

    def to_dict(self) -> dict[str, Any]:
        """What the Hub tells of it."""
        token: dict[str, Any] = {"displayName": "a token", "role": self.role}
        told: dict[str, Any] = {"type": "user", "name": self.name, "auth": {"accessToken": token}}
        if self.role == "fineGrained":
            scoped = [
                {"entity": {"type": "org", "name": name}, "permissions": ["repo.write"]} for name in self.organizations
            ]
            token["fineGrained"] = {"global": [], "scoped": scoped}
            return told
        return {**told, "orgs": [{"name": name, "type": "org"} for name in self.organizations]}


@dataclass
class Commit:
    """What a commit says of itself, and the one before it."""

    title: str
    description: str
    parent: str | None


@dataclass
class Repository:
    """Files of commits by id, what these say, and branches and tags by name."""

    private: bool = False
    sdk: str | None = None
    commits: dict[str, Files] = field(default_factory=dict)
    log: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> list[str]:
        """Titles of all commits, the first one first."""
        return [commit.title for commit in self.log.values()]

    def commit(self, branch: str, files: Files, title: str, description: str = "") -> str:
        """Id of a new commit at the head of a branch."""
        oid = hashlib.sha1(f"{len(self.log)} {branch} {sorted(files)}".encode()).hexdigest()
        self.commits[oid] = files
        self.log[oid] = Commit(title, description, self.branches.get(branch))
        self.branches[branch] = oid
        return oid

    def history(self, revision: str) -> Iterator[tuple[str, Commit]]:
        """A commit and those before it, by id."""
        oid: str | None = self.resolve(revision)
        while oid:
            yield oid, self.log[oid]
            oid = self.log[oid].parent

    def resolve(self, revision: str) -> str:
        """Commit id of a branch, tag or commit."""
        known = {**self.branches, **self.tags}
        oid = known.get(revision, revision)
        if oid not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid


@dataclass
class Hub:
    """The state of the server.

    Attributes:
        accounts: By token.
        repositories: By type and id.
        large: Content of large files that arrived, by SHA-256.
        requests: Method and path of all requests, in order.
        breaks: Beginning of a path to how many more requests to it are answered with status 500.
        before: Beginning of a path to what happens before the first request to it.
        read_only: Namespaces in which nobody may write, although they are members.
        unpaid: Namespaces without the plan that a new Space needs.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    breaks: dict[str, int] = field(default_factory=dict)
    before: dict[str, Callable[[], Any]] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    unpaid: set[str] = field(default_factory=set)
    address: str = ""

    def account(self, request: Request) -> Account:
        """Whose token a request carries."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.accounts:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.accounts[token]

    def writer(self, request: Request, repo_id: str) -> Account:
        """The account, if it may write to a repository."""
        account, namespace = self.account(request), repo_id.split("/")[0]
        may = namespace in (account.name, *account.organizations) and namespace not in self.read_only
        if account.role == "read" or not may:
            raise Refused(403, f"You don't have the rights to write to {namespace}")
        return account

    def repository(self, kind: str, repo_id: str) -> Repository:
        """A repository that exists."""
        found = self.repositories.get((kind, repo_id))
        if found is None:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return found

    def add(self, repo_id: str, files: dict[str, bytes], kind: str = "model") -> Repository:
        """A repository with one commit, as somebody else made it."""
        found = self.repositories[kind, repo_id] = Repository()
        found.commit(
            "main", {path: (content, _is_large(path, len(content))) for path, content in files.items()}, "first"
        )
        return found


def _is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE_NAMES) or size > LARGE


def _blob(content: bytes, large: bool) -> str:
    """Git's name of a file's blob; of a large file that of its pointer."""
    if large:
        digest = hashlib.sha256(content).hexdigest()
        content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: str, content: bytes, large: bool) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": _blob(content, large)}
    if large:
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def application(hub: Hub) -> FastAPI:
    """The server of one hub."""
    app = FastAPI()
    for add in (_add_errors, _add_accounts, _add_revisions, _add_uploads, _add_downloads):
        add(app, hub)
    return app


def _add_errors(app: FastAPI, hub: Hub) -> None:
    """What is refused or breaks, and the record of requests."""

    @app.exception_handler(Refused)
    async def refuse(_: Request, error: Refused) -> Response:
        headers = {"X-Error-Message": error.message, **({"X-Error-Code": error.code} if error.code else {})}
        return JSONResponse({"error": error.message}, error.status, headers)

    @app.middleware("http")
    async def watch(request: Request, go_on: Any) -> Response:
        hub.requests.append((request.method, request.url.path))
        for beginning in [each for each in hub.before if request.url.path.startswith(each)]:
            hub.before.pop(beginning)()
        for beginning, times in hub.breaks.items():
            if times and request.url.path.startswith(beginning):
                hub.breaks[beginning] -= 1
                return JSONResponse({"error": "broken"}, 500)
        return await go_on(request)


def _add_accounts(app: FastAPI, hub: Hub) -> None:
    """Who is asking, new repositories, and the check of a card."""

    @app.get("/api/whoami-v2")
    def whoami(request: Request) -> Any:
        return hub.account(request).to_dict()

    @app.post("/api/repos/create")
    async def create(request: Request) -> Any:
        body = await request.json()
        account = hub.account(request)
        repo_id, kind = f"{body.get('organization') or account.name}/{body['name']}", body.get("type", "model")
        hub.writer(request, repo_id)
        place = f"{hub.address}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
        if (kind, repo_id) in hub.repositories:
            return JSONResponse({"error": "You already created this repo", "url": place}, 409)
        if kind == "space" and repo_id.split("/")[0] in hub.unpaid:
            raise Refused(402, "Subscribe to a plan to host a Space that runs code")
        made = hub.repositories[kind, repo_id] = Repository(body.get("visibility") == "private", body.get("sdk"))
        made.commit("main", {".gitattributes": (b"*.safetensors filter=lfs\n", False)}, "initial commit")
        return {"url": place, "name": repo_id, "id": "0"}

    @app.post("/api/validate-yaml")
    async def validate(request: Request) -> Any:
        parts = (await request.json())["content"].split("---\n")
        try:
            front = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
        except yaml.YAMLError as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        errors = []
        if not isinstance(front.get("tags", []), list):
            errors.append({"message": '"tags" must be an array'})
        if len(front.get("short_description", "")) > 60:
            errors.append({"message": '"short_description" length must be less than or equal to 60'})
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)


def _add_revisions(app: FastAPI, hub: Hub) -> None:
    """Repositories, branches and tags."""

    @app.get("/api/{kinds}/{owner}/{name}/revision/{revision}")
    @app.get("/api/{kinds}/{owner}/{name}")
    def info(kinds: str, owner: str, name: str, revision: str = "main") -> Any:
        found = hub.repository(kinds[:-1], f"{owner}/{name}")
        oid = found.resolve(revision)
        return {
            "id": f"{owner}/{name}",
            "modelId": f"{owner}/{name}",
            "sha": oid,
            "private": found.private,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(found.commits[oid])],
        }

    @app.get("/api/{kinds}/{owner}/{name}/refs")
    def refs(kinds: str, owner: str, name: str) -> Any:
        found = hub.repository(kinds[:-1], f"{owner}/{name}")
        told = {
            key: [{"name": ref, "ref": f"refs/{part}/{ref}", "targetCommit": oid} for ref, oid in refs.items()]
            for key, part, refs in (("branches", "heads", found.branches), ("tags", "tags", found.tags))
        }
        return {**told, "converts": []}

    @app.get("/api/{kinds}/{owner}/{name}/commits/{revision}")
    def commits(kinds: str, owner: str, name: str, revision: str) -> Any:
        return [
            {"id": oid, "authors": [], "date": DATE, "title": commit.title, "message": commit.description}
            for oid, commit in hub.repository(kinds[:-1], f"{owner}/{name}").history(revision)
        ]

    @app.post("/api/{kinds}/{owner}/{name}/branch/{branch}")
    async def branch(kinds: str, owner: str, name: str, branch: str, request: Request) -> Any:
        hub.writer(request, f"{owner}/{name}")
        found = hub.repository(kinds[:-1], f"{owner}/{name}")
        if branch in found.branches:
            raise Refused(409, "Reference already exists")
        found.branches[branch] = found.resolve((await request.json()).get("startingPoint", "main"))
        return {}

    @app.post("/api/{kinds}/{owner}/{name}/tag/{revision}")
    async def tag(kinds: str, owner: str, name: str, revision: str, request: Request) -> Any:
        hub.writer(request, f"{owner}/{name}")
        found, wanted = hub.repository(kinds[:-1], f"{owner}/{name}"), (await request.json())["tag"]
        if wanted in found.tags:
            raise Refused(409, "Tag reference exists already")
        found.tags[wanted] = found.resolve(revision)
        return {}


def _add_uploads(app: FastAPI, hub: Hub) -> None:
    """Large files, then a commit."""

    @app.post("/api/{kinds}/{owner}/{name}/preupload/{revision}")
    async def preupload(kinds: str, owner: str, name: str, revision: str, request: Request) -> Any:
        hub.writer(request, f"{owner}/{name}")
        found = hub.repository(kinds[:-1], f"{owner}/{name}")
        there, told = found.commits[found.resolve(revision)], []
        for file in (await request.json())["files"]:
            large = _is_large(file["path"], file["size"])
            known = there.get(file["path"])
            oid = None
            if known:
                oid = hashlib.sha256(known[0]).hexdigest() if known[1] else _blob(*known)
            mode = "lfs" if large else "regular"
            told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": told}

    async def batch(repo_id: str, request: Request) -> Any:
        hub.writer(request, repo_id)
        told = []
        for wanted in (await request.json())["objects"]:
            if wanted["oid"] not in hub.large:
                wanted["actions"] = {"upload": {"href": f"{hub.address}/large/{wanted['oid']}", "header": {}}}
            told.append(wanted)
        return {"transfer": "basic", "objects": told}

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch")
    async def model_batch(owner: str, name: str, request: Request) -> Any:
        return await batch(f"{owner}/{name}", request)

    @app.post("/{kinds}/{owner}/{name}.git/info/lfs/objects/batch")
    async def other_batch(kinds: str, owner: str, name: str, request: Request) -> Any:
        return await batch(f"{owner}/{name}", request)

    @app.put("/large/{oid}")
    async def put(oid: str, request: Request) -> Any:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refused(400, "The content has another digest")
        hub.large[oid] = content
        return {}

    @app.post("/api/{kinds}/{owner}/{name}/commit/{revision}")
    async def commit(kinds: str, owner: str, name: str, revision: str, request: Request) -> Any:
        hub.writer(request, f"{owner}/{name}")
        found = hub.repository(kinds[:-1], f"{owner}/{name}")
        files = dict(found.commits[found.resolve(revision)])
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        head, said = found.resolve(revision), lines[0]["value"]
        if said.get("parentCommit", head) != head:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            key, value = line["key"], line["value"]
            if key == "deletedFile":
                del files[value["path"]]
            elif key == "lfsFile":
                if value["oid"] not in hub.large:
                    raise Refused(400, f"LFS pointer points to a file that does not exist: {value['path']}")
                files[value["path"]] = (hub.large[value["oid"]], True)
            else:
                files[value["path"]] = (base64.b64decode(value["content"]), False)
        oid = found.commit(revision, files, said["summary"], said.get("description", ""))
        return {"commitUrl": f"{hub.address}/{owner}/{name}/commit/{oid}", "commitOid": oid, "pullRequestUrl": None}


def _add_downloads(app: FastAPI, hub: Hub) -> None:
    """Listings and files."""

    @app.get("/api/{kinds}/{owner}/{name}/tree/{revision}/{folder:path}")
    @app.get("/api/{kinds}/{owner}/{name}/tree/{revision}")
    def tree(kinds: str, owner: str, name: str, revision: str, folder: str = "") -> Any:
        found = hub.repository(kinds[:-1], f"{owner}/{name}")
        files = found.commits[found.resolve(revision)]
        below = {path: file for path, file in files.items() if path.startswith(f"{folder}/" if folder else "")}
        if folder and not below:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound")
        return [_entry(path, *file) for path, file in sorted(below.items())]

    def download(kind: str, repo_id: str, revision: str, path: str, request: Request) -> Response:
        found = hub.repository(kind, repo_id)
        if found.private:
            hub.account(request)
        oid = found.resolve(revision)
        commit_header = {"X-Repo-Commit": oid}
        if path not in found.commits[oid]:
            told = {**commit_header, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return Response(status_code=404, headers=told)
        content, large = found.commits[oid][path]
        etag = hashlib.sha256(content).hexdigest() if large else _blob(content, large)
        headers = {**commit_header, "ETag": f'"{etag}"', "Content-Length": str(len(content))}
        return Response(content if request.method == "GET" else b"", headers=headers)

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def model_file(owner: str, name: str, revision: str, path: str, request: Request) -> Response:
        return download("model", f"{owner}/{name}", revision, path, request)

    @app.api_route("/{kinds}/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def other_file(kinds: str, owner: str, name: str, revision: str, path: str, request: Request) -> Response:
        return download(PREFIXES[kinds], f"{owner}/{name}", revision, path, request)


@contextmanager
def running(hub: Hub, port: int) -> Iterator[Hub]:
    """The hub at `hub.address`, in a thread of this process, until the block ends."""
    hub.address = f"http://127.0.0.1:{port}"
    server = uvicorn.Server(uvicorn.Config(application(hub), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 30
    while not server.started and time.monotonic() < limit:
        time.sleep(0.02)
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(timeout=30)
