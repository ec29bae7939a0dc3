// Calls a VMM on the socket os.Args[1] through the client that oapi-codegen makes, with a disk's image os.Args[2].
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"reflect"

	"example.test/client/api"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[1])
	}
	doer := &http.Client{Transport: &http.Transport{DialContext: dial}}
	client := must(api.NewClientWithResponses("http://localhost/api/v1", api.WithHTTPClient(doer)))
	ctx := context.Background()
	id := "made"
	disk := api.PutVmAddDiskJSONRequestBody{Id: &id}
	must(0, json.Unmarshal(must(json.Marshal(map[string]string{"path": os.Args[2], "id": id})), &disk))
	ping := must(client.GetVmmPingWithResponse(ctx)).JSON200
	info := must(client.GetVmInfoWithResponse(ctx)).JSON200
	counters := must(client.GetVmCountersWithResponse(ctx)).JSON200
	added := must(client.PutVmAddDiskWithResponse(ctx, disk)).JSON200
	again := must(client.PutVmAddDiskWithResponse(ctx, disk))
	boot := must(client.BootVMWithResponse(ctx))
	fmt.Println(string(must(json.Marshal(map[string]any{
		"version":  ping.Version,
		"state":    info.State,
		"nodes":    len(*info.DeviceTree),
		"counters": len(*counters),
		"added":    added.Id,
		"taken":    []any{again.StatusCode(), messages(again, "JSON409")},
		"booted":   []any{boot.StatusCode(), messages(boot, "JSON405")},
	}))))
}

// messages returns how many messages an error has; -1 where the document has no schema for it.
func messages(response any, name string) int {
	field := reflect.ValueOf(response).Elem().FieldByName(name)
	if !field.IsValid() {
		return -1
	}
	return field.Elem().Len()
}
