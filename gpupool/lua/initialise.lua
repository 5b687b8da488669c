-- Say that this pool is new: nobody can hold a lease on it, so it may grant at once.
--
-- Returns 1, or 0 when it is not new.

if is_new then
  call('HSET', BOOK, 'opens', now)
end
return is_new and 1 or 0
