"""The words that the drawn world knows: what can be seen in it, and what can be read in it."""

from __future__ import annotations

__all__ = [
    "COLOURS",
    "SHAPES",
    "SIZES",
    "COUNTS",
    "DIRECTIONS",
    "FIGURES",
    "WORDS",
    "SHORT_WORDS",
    "ALL_WORDS",
    "DIGITS",
    "UNSEEN_PAIRS",
    "PAPER",
    "with_article",
    "plural",
]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (248, 140, 20),
    "yellow": (236, 208, 24),
    "green": (30, 150, 54),
    "blue": (30, 78, 214),
    "purple": (132, 42, 164),
    "pink": (244, 132, 186),
    "black": (28, 28, 30),
}
"""Colours of things and of charts, as RGB in 0..255."""

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
"""Shapes of things."""

UNSEEN_PAIRS = frozenset(
    zip(COLOURS, ("star", "ring", "heart", "diamond", "cross", "square", "triangle", "circle"), strict=True)
)
"""Pairs of colour and shape that no training draws, each colour and each shape once.

What a model makes of them shows whether it knows colours and shapes, or pairs by heart.
"""

SIZES = ("small", "large")
"""Sizes of things, small first."""

COUNTS = ("one", "two", "three", "four")
"""How many things of one kind there can be; one first."""

DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Directions of motion, as a step `(x, y)` with y pointing down."""

FIGURES = ("bar chart", "pie chart", "line chart", "table")
"""What a page can show below its title."""

PAPER = ((250, 250, 247), (238, 241, 246), (246, 240, 228), (226, 232, 226), (222, 222, 228))
"""Backgrounds of scenes and clips, as RGB in 0..255."""

WORDS = (
    *("acorn", "amber", "anchor", "apple", "arrow", "autumn", "barley", "basket"),
    *("bridge", "butter", "candle", "canyon", "castle", "cedar", "cloud", "copper"),
    *("coral", "cotton", "crystal", "desert", "dragon", "eagle", "ember", "falcon"),
    *("feather", "forest", "garden", "ginger", "harbor", "hazel", "island", "ivory"),
    *("jacket", "jungle", "kettle", "lantern", "lemon", "maple", "marble", "meadow"),
    *("mirror", "mountain", "nectar", "ocean", "olive", "orchid", "pebble", "pepper"),
    *("planet", "puzzle", "quartz", "rabbit", "ribbon", "river", "rocket", "saddle"),
    *("silver", "spider", "summit", "thunder", "tiger", "tunnel", "velvet", "window"),
)
"""Words of the titles of plain pages. A title is two different ones."""

SHORT_WORDS = (
    *("army", "baby", "band", "bank", "barn", "beach", "bean", "bear", "bell", "bench", "bike", "bird"),
    *("boat", "book", "bowl", "bread", "brush", "cabin", "cake", "camp", "car", "cat", "cave", "chair"),
    *("cheese", "cherry", "clock", "coal", "coast", "coat", "coin", "corn", "cow", "crab", "crown", "cup"),
    *("dance", "deer", "desk", "dog", "door", "drum", "duck", "egg", "engine", "farm", "ferry", "field"),
    *("fire", "fish", "flag", "flour", "flute", "fog", "fork", "fox", "frog", "fruit", "game", "gate"),
    *("gift", "glass", "goat", "gold", "goose", "grape", "grass", "guitar", "hat", "hill", "honey", "horse"),
    *("hotel", "house", "ice", "iron", "jam", "juice", "key", "king", "kite", "knife", "lake", "lamp"),
    *("leaf", "letter", "lion", "mango", "map", "market", "melon", "metal", "milk", "mint", "moon", "moss"),
    *("mouse", "music", "nest", "nurse", "onion", "oven", "owl", "paint", "palace", "panda", "paper"),
    *("park", "peach", "pear", "pen", "piano", "pig", "pilot", "plane", "plate", "plum", "poem", "pond"),
    *("port", "queen", "radio", "rain", "rice", "road", "robot", "rock", "roof", "root", "rope", "rug"),
    *("sail", "salad", "salt", "sand", "scarf", "school", "sea", "seal", "seed", "shark", "sheep", "shelf"),
    *("ship", "shirt", "shoe", "shop", "singer", "sky", "snail", "snake", "snow", "soap", "sock", "sofa"),
    *("soil", "song", "soup", "spoon", "sport", "steel", "stone", "storm", "stove", "street", "sugar"),
    *("sun", "swan", "tea", "team", "tent", "ticket", "tomato", "tower", "town", "toy", "train", "tree"),
    *("truck", "valley", "van", "village", "violin", "voice", "wagon", "wall", "wave", "whale", "wheat"),
    *("wheel", "wind", "wing", "winter", "wolf", "wood", "wool", "yard", "zebra"),
)
"""Common short words, which pages to be read have as well."""

ALL_WORDS = (*WORDS, *SHORT_WORDS)
"""Every word that a title, a heading or a table can hold."""

DIGITS = tuple("123456789")
"""Numbers in tables to be read."""


def with_article(noun: str) -> str:
    """The noun with its indefinite article.

    Example:
        >>> with_article("orange circle"), with_article("red star")
        ('an orange circle', 'a red star')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """More than one of it.

    Example:
        >>> plural("red star"), plural("blue cross")
        ('red stars', 'blue crosses')
    """
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"
