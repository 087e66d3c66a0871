"""Functions that BigQuery has and this server does not: refused by name, so that they are not taken for a mistake."""

_FAMILIES = ("ST_", "S2_", "AEAD", "DETERMINISTIC_", "KLL_QUANTILES", "AI_", "BAG_OF_WORDS", "TF_IDF")
_NAMESPACES = frozenset(("AEAD", "AI", "HLL_COUNT", "KEYS", "KLL_QUANTILES", "ML", "NET", "OBJ"))
_NAMES = frozenset(
    (
        "APPROX_TOP_COUNT",
        "APPROX_TOP_SUM",
        "CODE_POINTS_TO_BYTES",
        "COLLATE",
        "COSINE_DISTANCE",
        "DATETIME_BUCKET",
        "DATE_BUCKET",
        "EUCLIDEAN_DISTANCE",
        "EXTERNAL_OBJECT_TRANSFORM",
        "GAP_FILL",
        "GENERATE_RANGE_ARRAY",
        "JSON_ARRAY_APPEND",
        "JSON_ARRAY_INSERT",
        "JSON_FLATTEN",
        "JSON_KEYS",
        "JSON_REMOVE",
        "JSON_SET",
        "JSON_STRIP_NULLS",
        "JUSTIFY_DAYS",
        "JUSTIFY_HOURS",
        "JUSTIFY_INTERVAL",
        "MAKE_INTERVAL",
        "NORMALIZE_AND_CASEFOLD",
        "RANGE",
        "RANGE_CONTAINS",
        "RANGE_END",
        "RANGE_INTERSECT",
        "RANGE_OVERLAPS",
        "RANGE_SESSIONIZE",
        "RANGE_START",
        "REGEXP_INSTR",
        "SEARCH",
        "SOUNDEX",
        "TIMESTAMP_BUCKET",
        "VECTOR_SEARCH",
    )
)


def is_unsupported(function: str) -> bool:
    return function.upper() in _NAMES or function.upper().startswith(_FAMILIES)


def is_namespace(name: str) -> bool:
    """Whether functions are called by it, as in ``HLL_COUNT.MERGE``, none of which is supported."""
    return name.upper() in _NAMESPACES
