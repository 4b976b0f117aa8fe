-- The end of a session has a stage of its own; `DailyPipeline` keeps no record any more. (The marker files move with it.)
UPDATE table_updates SET update_id = 'CloseSession' || substr(update_id, length('DailyPipeline') + 1)
WHERE update_id LIKE 'DailyPipeline:%';
