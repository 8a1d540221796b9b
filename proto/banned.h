/*
 * Functions that may not be used, because a safer one stands beside each.
 * Included last by every .c file.
 */
#ifndef PROTO_BANNED_H
#define PROTO_BANNED_H

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf
#pragma GCC poison strtok atoi atol atoll gets
#pragma GCC poison gmtime localtime ctime asctime
#pragma GCC poison system popen

#endif
