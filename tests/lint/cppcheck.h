/*
 * Read by cppcheck before every file: what it cannot know of our libraries'
 * headers, which it does not read. Never part of a build.
 */
#define json_object_object_foreach(object, key, value) \
	char *key;                                     \
	struct json_object *value;                     \
	while (next_of(object, &key, &value))
