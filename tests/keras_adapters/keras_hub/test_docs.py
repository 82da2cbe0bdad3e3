"""The table of backbones in docs/keras_hub.md says what the hosts say."""

import pathlib
import re

from keras_adapters.bindings import host_of

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "keras_hub.md"


def test_the_table_names_each_backbone_and_its_sites(hub):
    rows = re.findall(r"^\| (`\w+Backbone`.*?) \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {cls: sites for classes, sites in rows for cls in re.findall(r"`(\w+)`", classes)}
    assert set(told) == set(hub.classes.values())
    for name, cls in hub.classes.items():
        backbone = hub.shared(name)
        host = host_of(backbone)
        places = [site.place.replace("_", "-") for site in host.sites(host.blocks(backbone)[0])]
        assert told[cls] == ", ".join(places)
