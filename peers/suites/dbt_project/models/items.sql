{{ config(materialized='view') }}
SELECT item, SUM(amount) AS amount FROM {{ ref('orders') }} GROUP BY item
