package region

import "testing"

func TestMemoryLayoutOfDatagram(t *testing.T) {
	const title = "Hand-over datagram"
	p := parcel{role: 0x01020304, name: "/dev/shm/a"}
	for i := range p.id {
		p.id[i] = byte('A' + i)
	}
	checkRows(t, title, rowsOf(t, layoutTables(t)[title], p.encode()), map[string][]byte{
		"magic": []byte("shmrole\n"), "version": {1, 0, 0, 0}, "role": {4, 3, 2, 1},
		"id": []byte("ABCDEFGHIJKLMNOP"), "name": []byte("/dev/shm/a"),
	})
}
