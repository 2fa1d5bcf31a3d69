-- An attempt is written twice, when it begins and when it ends. Room on its page keeps the second row there, so that no index
-- learns of it.
ALTER TABLE attempts SET (fillfactor = 60);
