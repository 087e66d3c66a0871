{{ config(
    materialized='incremental', unique_key='id', incremental_strategy='merge',
    partition_by={'field': 'day', 'data_type': 'date'}, cluster_by=['item'], description='orders by day'
) }}
SELECT id, item, day, amount FROM {{ ref('orders_raw') }}
{% if is_incremental() %}
WHERE day >= (SELECT MAX(day) FROM {{ this }})
{% endif %}
