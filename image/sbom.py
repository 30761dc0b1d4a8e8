#!/usr/bin/python3
"""sbom.py VERSION STATUS... LOCK: the bill of materials of an image in SPDX 2.3 (JSON), on standard output.

STATUS are lists of Debian packages (dpkg), LOCK is uv.lock. Sorted, and dated by SOURCE_DATE_EPOCH, so that the same
image has the same bill.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path


def packages_of_debian(status: Path) -> dict[str, tuple[str, str]]:
    """Name and architecture to version and source package."""
    found = {}
    for part in status.read_text().split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", part, re.MULTILINE))
        if "Package" in fields and "Version" in fields:
            source = fields.get("Source", fields["Package"]).split()[0]
            found[f"{fields['Package']}:{fields.get('Architecture', 'all')}"] = (fields["Version"], source)
    return found


def entry(kind: str, name: str, version: str, where: str, url: str) -> dict[str, object]:
    """One package. ``url``: its package URL (purl)."""
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{kind}-{name}"),
        "name": name,
        "versionInfo": version,
        "downloadLocation": where,
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url},
        ],
    }


def main() -> None:
    """The command."""
    version, *statuses, lock = sys.argv[1:]
    debian: dict[str, tuple[str, str]] = {}
    for status in statuses:
        debian |= packages_of_debian(Path(status))
    listed = [
        entry("deb", name.partition(":")[0], number, "NOASSERTION",
              f"pkg:deb/debian/{name.partition(':')[0]}@{number}?arch={name.partition(':')[2]}&upstream={source}")
        for name, (number, source) in sorted(debian.items())
    ]  # fmt: skip
    for package in sorted(tomllib.loads(Path(lock).read_text())["package"], key=lambda one: str(one["name"])):
        if "registry" in package.get("source", {}):
            name, number = package["name"], package["version"]
            listed.append(entry("python", name, number, "NOASSERTION", f"pkg:pypi/{name}@{number}"))
    date = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    bill = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"edge-gateway-{version}",
        "documentNamespace": f"urn:edge-gateway:sbom:{version}:{date}",
        "creationInfo": {"created": date, "creators": ["Tool: edge-gateway image/sbom.py"]},
        "packages": listed,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": one["SPDXID"]}
            for one in listed
        ],
    }
    json.dump(bill, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
