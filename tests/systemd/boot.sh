#!/bin/sh
# Makes a machine out of namespaces and becomes its systemd. Called by conftest.py inside fresh mount, uts, ipc,
# net, pid and cgroup namespaces, as their first process and as root. Nothing of it reaches the host: its root is an
# overlay whose upper layer lives in memory and is gone with the last process.
#
#   boot.sh SYSTEMD [HOST_FOLDER:FOLDER_INSIDE]...
set -eu
systemd=$1
shift

# --- the root: this machine's files below, memory above ---
mount -t tmpfs -o mode=755 overlay-memory /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
root=/mnt/root

# --- kernel file systems: its own where there are such, read-only where they are the host's ---
mount -t proc -o nosuid,noexec,nodev proc "$root/proc"
for host_wide in sys sysrq-trigger; do # sysctls are not namespaced: systemd would change the host's
    [ -e "$root/proc/$host_wide" ] || continue
    mount --bind "$root/proc/$host_wide" "$root/proc/$host_wide"
    mount -o remount,bind,ro "$root/proc/$host_wide"
done
mount -t sysfs -o ro,nosuid,noexec,nodev sysfs "$root/sys"
mount -t cgroup2 -o nosuid,noexec,nodev cgroup2 "$root/sys/fs/cgroup"

# --- /run and /dev: new, with the few devices that every program expects ---
mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,nosuid,noexec devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${number%:*}" "$root/dev/${number#*:}"; done

# --- units: only these, so that nothing of the host's is started a second time ---
units=$root/run/test-units
host_units=$root/lib/systemd/system
mkdir -p "$units/sysinit.target.wants" "$units/sockets.target.wants"
for target in sysinit basic local-fs local-fs-pre remote-fs remote-fs-pre swap sockets timers paths slices multi-user \
    network network-pre network-online nss-lookup nss-user-lookup time-sync time-set shutdown umount final exit; do
    cp -L "$host_units/$target.target" "$units/"
done
for unit in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket systemd-exit.service; do
    cp -L "$host_units/$unit" "$units/"
done
ln -s multi-user.target "$units/default.target"
ln -s ../systemd-journald.service "$units/sysinit.target.wants/"
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket "$units/sockets.target.wants/"
mount -t tmpfs -o mode=755 etc-units "$root/etc/systemd/system" # hides what the host has enabled
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitIntervalSec=0\n' >"$root/etc/systemd/journald.conf.d/test.conf"
[ -s "$root/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"

# --- what the tests bring along ---
for pair in "$@"; do
    mkdir -p "$root${pair#*:}"
    mount --rbind "${pair%%:*}" "$root${pair#*:}"
done

# --- go over, and forget the host's mounts ---
mkdir "$root/run/host"
cd "$root"
pivot_root . run/host
umount -l /run/host
cd /
mount --make-rshared / # systemd leaves this out in a container, but LoadCredential= fails without it

exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system:/run/test-units \
    "$systemd" --system --log-target=journal --show-status=0 </dev/null >/dev/null 2>&1
