"""What is wrong with a Compose file of this project, found without any engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ONE_SHOT: Final = frozenset({"state", "setup", "operator"})
"""They end by themselves: no health check, and never started again."""
HINT: Final = "run ./deploy/compose-env first"
_SECRET: Final = re.compile(r"PASS(WORD)?$|SECRET_KEY$")
_OPERATORS: Final = re.compile(r"HIGHLOAD_(OPERATOR|REPLICATOR|SEED|ADMIN)_")
_CODE: Final = ("highload", "management", "deploy")

Compose = Mapping[str, Any]


def read_compose(path: Path) -> dict[str, Any]:
    """The file as it is written, variables unresolved."""
    read: dict[str, Any] = yaml.safe_load(path.read_text())
    return read


def problems_of(compose: Compose, root: Path) -> list[str]:
    """Each in a sentence that begins with the service's name."""
    return [
        f"{name}: {problem}"
        for name, service in compose["services"].items()
        for look in (_image, _lasting, _limits, _ports, _mounts, _variables, _secrets, _programs)
        for problem in look(name, service, compose, root)
    ]


def environment(service: Compose) -> dict[str, str]:
    """The variables of a service."""
    return dict(service.get("environment", {}))


def mounts(service: Compose) -> list[list[str]]:
    """Source, target and perhaps `ro` of each volume."""
    return [volume.split(":") for volume in service.get("volumes", [])]


def words(service: Compose) -> list[str]:
    """Everything that is run: entry point, command, health check."""
    return [
        *service.get("entrypoint", []),
        *service.get("command", []),
        *service.get("healthcheck", {}).get("test", []),
    ]


def _image(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    image = service.get("image")
    if image is None:
        if "build" not in service:
            yield "has neither an image nor a build"
        elif not (root / service["build"]["dockerfile"]).is_file():
            yield f"is built from {service['build']['dockerfile']}, which is not there"
    elif image == "${COMPOSE_PROJECT_NAME}-application":
        if service.get("pull_policy") != "never":
            yield "would look for the application's image in a registry"
    elif not re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z-]+)?$", image):
        yield f"image {image} is not pinned"


def _lasting(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    if name in ONE_SHOT:
        if service["restart"] != "no":
            yield "ends by itself and would be started again"
        return
    if service.get("restart") != "unless-stopped":
        yield "is not started again after a crash"
    if "test" not in service.get("healthcheck", {}):
        yield "has no health check"


def _limits(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    yield from (f"has no limit of {kind}" for kind in ("cpus", "memory") if kind not in limits)


def _ports(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    yield from (f"port {port} is open to others" for port in service.get("ports", []) if port[:10] != "127.0.0.1:")


def _mounts(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    for source, *rest in mounts(service):
        if source.startswith("./"):
            if not (root / source).exists():
                yield f"mounts {source}, which is not there"
            if rest[-1] != "ro":
                yield f"may write to {source}"
        elif not source.startswith("/") and source not in compose["volumes"]:
            yield f"volume {source} is not declared"


def _variables(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    code = "".join(path.read_text() for folder in _CODE for path in (root / folder).rglob("*.py"))
    code += (root / "deploy" / "compose" / "node").read_text()
    # Built from a part: HIGHLOAD_{kind}_PASSWORD.
    built = re.compile(r"HIGHLOAD_(OPERATOR|REPLICATOR|MONITOR)_(USER|PASSWORD)")
    for variable in environment(service):
        if (
            variable.startswith("HIGHLOAD_")
            and not built.fullmatch(variable)
            and not re.search(rf"\b{variable}\b", code)
        ):
            yield f"passes {variable}, which nothing reads"


def _secrets(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    generated = (root / "deploy" / "compose-env").read_text()
    for variable, value in environment(service).items():
        if name == "application" and _OPERATORS.match(variable):
            yield f"has the operator's {variable}"
        if not _SECRET.search(variable):
            continue
        match = re.fullmatch(r"\$\{(\w+):\?(.*)\}", value)
        if match is None:
            yield f"{variable} is written in the file"
        elif not re.search(rf"\b{match[1]}\b", generated):
            yield f"{match[1]} is generated by nobody"
        elif match[2] != HINT:
            yield f"does not say what makes {match[1]}"


def _programs(name: str, service: Compose, compose: Compose, root: Path) -> Iterator[str]:
    """Files of the project that are named where something is run: through a mount, or copied into the image."""
    copied = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word in words(service):
        path = word.partition("=")[2] or word
        if path.startswith("deploy/"):
            if path not in copied:
                yield f"runs {path}, which the image lacks"
            if not (root / path).is_file():
                yield f"runs {path}, which is not there"
        for source, target, *_ in mounts(service):
            if source.startswith("./") and path.startswith(f"{target}/"):
                here = root / source / path.removeprefix(f"{target}/")
                if not here.is_file():
                    yield f"reads {path}, but {here.relative_to(root)} is not there"
