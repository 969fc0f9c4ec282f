-- A landline without a mobile is the second number, after an empty first: in the mobile's place a ReplaceCV would make it the mobile.
UPDATE contacts
SET ready = convert_to(replace(convert_from(ready, 'UTF8'), '"PhoneNumber":[', '"PhoneNumber":["",'), 'UTF8')
WHERE convert_from(types, 'UTF8')::jsonb #>> '{2,1}' IS NOT NULL
  AND convert_from(types, 'UTF8')::jsonb #>> '{1,1}' IS NULL;
