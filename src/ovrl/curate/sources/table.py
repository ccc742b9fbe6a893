"""The public data sets whose raw rows are known, by name. A source is loaded when it is used.

A source is a function `convert(row, *, seed)`: it gives the objects of the contract that a raw row holds, none
when the row is not part of the set. What it cannot read, it raises; `samples.read_samples` rejects the row.
"""

SOURCES: dict[str, str] = {
    "virl39k": "ovrl.curate.sources.virl39k:convert",
    "ref-l4": "ovrl.curate.sources.ref_l4:convert",
    "vigorl-sa": "ovrl.curate.sources.vigorl_sa:convert",
    "vigorl-sat": "ovrl.curate.sources.vigorl_sat:convert",
    "pixmo-count": "ovrl.curate.sources.pixmo_count:convert",
    "webcode2m": "ovrl.curate.sources.webcode2m:convert",
    "unisvg": "ovrl.curate.sources.unisvg:convert",
    "infovqa": "ovrl.curate.sources.infovqa:convert",
    "ai2d": "ovrl.curate.sources.ai2d:convert",
    "mathvision": "ovrl.curate.sources.mathvision:convert",
    "mmmu": "ovrl.curate.sources.mmmu:convert",
    "mmstar": "ovrl.curate.sources.mmstar:convert",
    "treebench": "ovrl.curate.sources.treebench:convert",
    "docvqa": "ovrl.curate.sources.docvqa:convert",
    "ocrbench": "ovrl.curate.sources.ocrbench:convert",
    "refspatial": "ovrl.curate.sources.refspatial:convert",
    "codeforces": "ovrl.curate.sources.codeforces:convert",
}
