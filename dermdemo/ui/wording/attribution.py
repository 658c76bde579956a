"""Words of the Attribution tab."""

CLASS_LABEL = "Map for the class"
CLASS_OWN = "Each arm's own prediction"
LAYER_LABEL = "Layer"
LAYERS = {"stages[-1]": "Last stage", "stages[-2]": "Second-last stage"}
LAYER_CHOICES = {
    "stages[-1]": "Last, stages[-1]: one value per 32 × 32 px",
    "stages[-2]": "Second-last, stages[-2]: one value per 16 × 16 px",
}
OPACITY = "Opacity of the map"
CELLS = "Show the cells of the grid"

MAPS_TITLE = "Where each arm looked"
MAPS_TEXT = "Grad-CAM through captum: yellow where the layer's activations raise the score of the class most, over "
MAPS_TEXT += "the grey picture that the arm saw. One colour scale for both arms."
CAPTION = "{arm}: {target}"
PROBABILITY = "This arm gives the class {share}."
GRID = "{layer}: {rows} × {columns} = {cells} values, each for {width} × {height} px of the {size} px input. "
GRID += "All that looks smooth is interpolation."
COARSE = "With {cells} values a map can say no more than which quarter of the picture counts."
PEAK = "Peak before scaling: {peak}."
FLAT = "The map is empty: at this layer nothing raises the score of the class, so there is nothing to mark."
FLAT_TAG = "Empty map"
PEAKS = "Each map is divided by its own peak, so the colours say where, not how much: compare the peaks for that, "
PEAKS += "and only roughly, because the arms differ in their weights."
SCALE = "Grad-CAM, share of each map's own peak"
HEAT_ALT = "Grad-CAM of the {arm} for {target} over the grey model input"

FAITH_TITLE = "Is the map faithful?"
FAITH_TEXT = "Deletion hides the most marked pixels first: the sooner the probability falls, the better (small "
FAITH_TEXT += "area). Insertion shows them first on a blurred picture: the sooner it rises, the better (large area). "
FAITH_TEXT += "Both are compared with random maps of the same grid."
FAITH_RUN = "Measure both maps"
FAITH_WORKING = "{done} of {total} maps measured; each takes some hundred readings of the image"
FAITH_HEAD = ("", "This map", "Random maps", "Better is")
DELETION, INSERTION = "Deletion area", "Insertion area"
DELETION_CHART, INSERTION_CHART = "Deletion", "Insertion"
SMALLER, LARGER = "smaller", "larger"
BETTER = "On this image the map does better than random maps on both counts: the arm seems to rely on what it marks."
MIXED = "The map does better than random maps on {good} only: no clear evidence that the arm relies on what it marks."
WORSE = "The map does no better than random maps: do not read it as what the arm relies on."
GOOD_DELETION, GOOD_INSERTION = "deletion", "insertion"
CONTROL_NOTE = "The control is the mean of {controls} random maps, on this one image: differences below {least} "
CONTROL_NOTE += "count as none."
CHART_MAP, CHART_RANDOM = "this map", "random maps"
CHART_X = {"deletion": "pixels hidden", "insertion": "pixels shown"}
CHART_ALT = "{name}: probability of {target} against the share of pixels; area {area}, random maps {control}"

SANITY_TITLE = "Does the map depend on the model?"
SANITY_TEXT = "Weights are made random part by part, from the head down to the stem. A map that says something of "
SANITY_TEXT += "the model must lose its likeness to the original; one that stays shows edges of the picture only."
SANITY_RUN = "Randomise the weights"
SANITY_WORKING = "{done} of {total} arms randomised"
SANITY_CAPTION = "Rank correlation with the original map"
SANITY_BAND = "Grey: 95 % of unrelated maps on this grid, within ±{band}."
SANITY_GONE = "With every weight random the correlation is {value}, within chance (±{band}): the map depends on the "
SANITY_GONE += "model."
SANITY_LEFT = "With every weight random the correlation is still {value}, beyond chance (±{band}): the map says more "
SANITY_LEFT += "of the picture than of the model."
SANITY_COARSE = "With {cells} values in the map, chance alone gives any correlation: the check cannot decide on this "
SANITY_COARSE += "grid. Choose the finer layer."
PARTS = {
    "head": "head", "norm": "+ last norm", "stages[3]": "+ stage 4", "stages[2]": "+ stage 3",
    "stages[1]": "+ stage 2", "stages[0]": "+ stage 1", "stem": "+ stem",
}  # fmt: skip

WAITING = "Drawing the maps …"
FAILED = "These maps were not drawn"
FAILED_MEASURE = "This was not measured"
