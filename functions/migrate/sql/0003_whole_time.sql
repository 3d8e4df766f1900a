-- The map asks for all time: one row a cell and category, among one for every bucket there has ever been. With this
-- index such a query costs what its cells cost, however long the history. None of its columns is ever updated, so
-- that updates stay within their page (HOT).
create index aggregate_whole on geodrop.aggregate (dataset_id, level, x, y, category) where bucket = '-infinity';
