{{ config(
    materialized='incremental', incremental_strategy='insert_overwrite',
    partition_by={'field': 'day', 'data_type': 'date'}
) }}
SELECT id, item, day, amount FROM {{ ref('orders_raw') }}
