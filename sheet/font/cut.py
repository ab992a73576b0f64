# SPDX-License-Identifier: EUPL-1.2
# Makes the fonts beside it, in a folder where "npm install @fontsource/fira-sans@5.3.0 @fontsource/fira-mono@5.3.0" was run:
# joins the two halves of each font that the packages keep apart, and cuts them. Needs fontTools (Debian: fonttools).
from fontTools import merge, subset
from fontTools.ttLib import TTFont

LETTERS = [*range(0x20, 0x7F), *range(0xA0, 0x180), 0x192, 0x218, 0x219, 0x21A, 0x21B, 0x1E9E, 0x2013, 0x2014, 0x2018, 0x2019,
           0x201A, 0x201C, 0x201D, 0x201E, 0x2020, 0x2022, 0x2026, 0x2039, 0x203A, 0x20AC, 0x2212]

for family, weight, name in (("fira-sans", 400, "FiraSans-Regular"), ("fira-sans", 600, "FiraSans-SemiBold"), ("fira-mono", 500, "FiraMono-Medium")):
    halves = []
    for part in ("latin", "latin-ext"):
        font = TTFont(f"node_modules/@fontsource/{family}/files/{family}-{part}-{weight}-normal.woff", recalcTimestamp=False)
        font.flavor = None
        for table in ("GSUB", "GPOS", "GDEF", "kern", "DSIG", "STAT"):
            if table in font:
                del font[table]
        font.save(f"{name}-{part}.ttf")
        halves.append(f"{name}-{part}.ttf")
    font = merge.Merger().merge(halves)
    font.recalcTimestamp = False
    font["head"].created = font["head"].modified = 3600000000
    options = subset.Options(hinting=False, layout_features=[], notdef_outline=True, glyph_names=False, name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14])
    cut = subset.Subsetter(options)
    cut.populate(unicodes=LETTERS)
    cut.subset(font)
    font.save(f"{name}.ttf")
