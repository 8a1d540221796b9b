"""Becomes a program in the way a service manager starts one.

activate.py WATCHDOG_USEC DESCRIPTOR[,DESCRIPTOR...] PROGRAM [ARGUMENT...]

The process id that the environment has to name is known only in here. Either
of the first two arguments may be empty.
"""
import fcntl
import os
import sys

FIRST = 3  # as SD_LISTEN_FDS_START
OUT_OF_THE_WAY = 64


def main():
    watchdog, passed, *command = sys.argv[1:]
    if watchdog:
        os.environ.update(WATCHDOG_USEC=watchdog, WATCHDOG_PID=str(os.getpid()))
    moved = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, OUT_OF_THE_WAY)
             for fd in passed.split(",") if fd]
    for number, fd in enumerate(moved, FIRST):
        os.dup2(fd, number, inheritable=True)
    if moved:
        os.environ.update(LISTEN_FDS=str(len(moved)), LISTEN_PID=str(os.getpid()))
    os.closerange(FIRST + len(moved), OUT_OF_THE_WAY * 4)
    os.execv(command[0], command)


main()
