#!/rig/busybox sh
# The first process of a guest: mounts what the machine shares, sets up the control link, and serves commands on it.
export PATH=/usr/sbin:/usr/bin:/rig HOME=/root
mount -t proc p /proc
mount -t sysfs s /sys
mount -t devtmpfs d /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts d /dev/pts
mount -t tmpfs t /run
mount -t tmpfs t /tmp
mount -t tmpfs t /dev/shm
mkdir -p /run/netns /run/lock
echo /rig/modprobe >/proc/sys/kernel/modprobe
for module in virtio_pci 9pnet_virtio 9p virtio_net; do modprobe $module; done
share() { mount -t 9p -o "$1,trans=virtio,version=9p2000.L,msize=512000" "$2" "$3"; }
share ro,cache=loose usr /usr
share ro,cache=loose modules "/lib/modules/$(uname -r)"
share ro,cache=loose proj /proj
share ro,cache=loose node /node
share rw out /out
share rw,cache=loose compiled /compiled
for folder in /usr/lib/*; do
  name=${folder##*/}
  [ -e "/lib/$name" ] || ln -s "$folder" "/lib/$name"
done
mount -t cgroup2 c /sys/fs/cgroup
ip link set lo up
# The control link, named so that the card's port is eth0.
ip link set eth0 name ctl0
ip link set ctl0 up
ip address add 10.0.2.15/24 dev ctl0
sysctl -q -w net.ipv6.conf.all.disable_ipv6=0 kernel.printk=4
echo "GUEST-READY $(cut -d' ' -f1 /proc/uptime)"
while :; do nc -ll -p 9000 -e /rig/serve; done
