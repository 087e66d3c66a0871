{% snapshot orders_snapshot %}
{{ config(target_schema='built', unique_key='id', strategy='check', check_cols=['amount']) }}
SELECT id, item, amount FROM {{ ref('orders_raw') }}
{% endsnapshot %}
