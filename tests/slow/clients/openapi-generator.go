// Calls a VMM on the socket os.Args[1] through the client that openapi-generator makes, with a disk's image os.Args[2].
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"example.test/client/api"
)

func read[T any](value T, _ *http.Response, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[1])
	}
	config := api.NewConfiguration()
	config.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: dial}}
	client := api.NewAPIClient(config).DefaultAPI
	ctx := context.Background()
	var disk api.DiskConfig
	text, _ := json.Marshal(map[string]string{"path": os.Args[2], "id": "made"})
	if err := json.Unmarshal(text, &disk); err != nil {
		log.Fatal(err)
	}
	ping := read(client.VmmPingGet(ctx).Execute())
	info := read(client.VmInfoGet(ctx).Execute())
	counters := read(client.VmCountersGet(ctx).Execute())
	added := read(client.VmAddDiskPut(ctx).DiskConfig(disk).Execute())
	_, again, refused := client.VmAddDiskPut(ctx).DiskConfig(disk).Execute()
	boot, unbooted := client.BootVM(ctx).Execute()
	answer, _ := json.Marshal(map[string]any{
		"version":  ping.Version,
		"state":    info.State,
		"nodes":    len(info.GetDeviceTree()),
		"counters": len(*counters),
		"added":    added.Id,
		"taken":    []any{again.StatusCode, messages(refused)},
		"booted":   []any{boot.StatusCode, messages(unbooted)},
	})
	fmt.Println(string(answer))
}

// messages returns how many messages an error has; -1 where the document has no schema for it.
func messages(err error) int {
	var failure *api.GenericOpenAPIError
	if !errors.As(err, &failure) {
		return -2
	}
	if list, known := failure.Model().([]string); known {
		return len(list)
	}
	return -1
}
