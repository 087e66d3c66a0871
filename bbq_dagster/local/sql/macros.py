"""What BigQuery's functions do and no function of DuckDB does, as macros."""

MACROS = (
    "bq_divide(a, b) AS CASE WHEN b = 0 THEN error('division by zero: ' || a || ' / ' || b) ELSE a / b END",
    "bq_bytes(v) AS CASE WHEN typeof(v) = 'BLOB' THEN CAST(CAST(v AS VARCHAR) AS BLOB) "
    "ELSE encode(CAST(v AS VARCHAR)) END",
    r"bq_time(v) AS CAST(coalesce(nullif(regexp_extract(CAST(v AS VARCHAR), '\d+:\d+(:\d+)?(\.\d+)?'), ''), "
    "CAST(v AS VARCHAR)) AS TIME)",
    "bq_json_string(v) AS json_text(CAST(to_json(v) AS VARCHAR), typeof(v))",
    "bq_element(list, place) AS CASE WHEN place BETWEEN 1 AND len(list) THEN list[place] END",
    "bq_element_or_error(list, place, first) AS CASE "
    "WHEN place < 1 THEN error('Array index ' || (place - 1 + first) || ' is out of bounds (underflow)') "
    "WHEN place > len(list) THEN error('Array index ' || (place - 1 + first) || ' is out of bounds (overflow)') "
    "ELSE list[place] END",
    "bq_strip_fraction(s) AS "
    r"regexp_replace(regexp_replace(s, '(\.\d*?)0+(\D|$)', '\1\2', 'g'), '\.(\D|$)', '\1')",
    "bq_int64(v) AS CASE WHEN typeof(v) IN ('DOUBLE', 'FLOAT') THEN CAST(round(TRY_CAST(v AS DOUBLE)) AS BIGINT) "
    "ELSE CAST(v AS BIGINT) END",
    r"bq_fraction(s) AS regexp_replace(regexp_replace(s, '\.(\d)(\D|$)', '.\100\2'), '\.(\d\d)(\D|$)', '.\10\2')",
    "bq_string(v) AS CASE "
    r"WHEN typeof(v) LIKE 'DECIMAL%' THEN "
    r"regexp_replace(regexp_replace(CAST(v AS VARCHAR), '(\.\d*?)0+$', '\1'), '\.$', '') "
    r"WHEN typeof(v) IN ('DOUBLE', 'FLOAT') THEN regexp_replace(CAST(v AS VARCHAR), '\.0$', '') "
    "WHEN typeof(v) IN ('TIMESTAMP', 'TIMESTAMP WITH TIME ZONE', 'TIME') THEN bq_fraction(CAST(v AS VARCHAR)) "
    "WHEN typeof(v) = 'BLOB' THEN decode(CAST(CAST(v AS VARCHAR) AS BLOB)) "
    "WHEN typeof(v) = 'JSON' THEN json_extract_string(TRY_CAST(v AS JSON), '$') "
    "ELSE CAST(v AS VARCHAR) END",
    "bq_json_type(v) AS CASE json_type(v) WHEN 'ARRAY' THEN 'array' WHEN 'OBJECT' THEN 'object' "
    "WHEN 'VARCHAR' THEN 'string' WHEN 'BOOLEAN' THEN 'boolean' WHEN 'NULL' THEN 'null' "
    "WHEN NULL THEN NULL ELSE 'number' END",
    "ieee_divide(a, b) AS CASE WHEN b <> 0 THEN a / b WHEN a = 0 THEN CAST('nan' AS DOUBLE) "
    "WHEN a > 0 THEN CAST('inf' AS DOUBLE) WHEN a < 0 THEN CAST('-inf' AS DOUBLE) END",
    "safe_add(a, b) AS TRY(a + b)",
    "safe_subtract(a, b) AS TRY(a - b)",
    "safe_multiply(a, b) AS TRY(a * b)",
    "safe_negate(a) AS TRY(-a)",
    "range_bucket(point, bounds) AS len(list_filter(bounds, lambda bound: bound <= point))",
    "code_points_to_string(points) AS array_to_string(list_transform(points, lambda p: chr(CAST(p AS INTEGER))), '')",
    "to_code_points(s) AS list_transform(string_split(s, ''), lambda c: CAST(unicode(c) AS BIGINT))",
    "safe_convert_bytes_to_string(b) AS decode(b)",
    "parse_numeric(s) AS CAST(replace(replace(s, ',', ''), ' ', '') AS DECIMAL(38, 9))",
    "parse_bignumeric(s) AS CAST(replace(replace(s, ',', ''), ' ', '') AS DECIMAL(38, 18))",
    "lax_int64(j) AS TRY_CAST(json_extract_string(j, '$') AS BIGINT)",
    "lax_float64(j) AS TRY_CAST(json_extract_string(j, '$') AS DOUBLE)",
    "lax_bool(j) AS TRY_CAST(json_extract_string(j, '$') AS BOOLEAN)",
    "lax_string(j) AS json_extract_string(j, '$')",
    "bq_array_slice(list, first, last) AS list_slice(list, "
    "CASE WHEN first < 0 THEN greatest(len(list) + first, 0) ELSE first END + 1, "
    "CASE WHEN last < 0 THEN len(list) + last ELSE last END + 1)",
    "array_first(list) AS CASE WHEN len(list) = 0 "
    "THEN error('ARRAY_FIRST cannot get the first element of an empty array') ELSE list[1] END",
    "array_last(list) AS CASE WHEN len(list) = 0 "
    "THEN error('ARRAY_LAST cannot get the last element of an empty array') ELSE list[len(list)] END",
)
