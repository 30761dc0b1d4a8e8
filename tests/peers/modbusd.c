/*
 * A Modbus TCP server, or an RTU slave, on libmodbus, which nobody of this project wrote: the independent peer of
 * tests/connectors/test_modbus_peers.py.
 *
 *   gcc -O1 modbusd.c -o modbusd $(pkg-config --cflags --libs libmodbus)
 *   ./modbusd                          prints the port that it has bound on 127.0.0.1, serves one client at a time
 *   ./modbusd DEVICE BAUD PARITY UNIT  prints "up" when it has opened the serial line
 *
 * Until killed.
 *
 * Unit 1. Coils and discrete inputs 0..99 (address modulo 2), input registers 0..99 (1000 + address), holding
 * registers 0..199 (address).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int bound_port(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &size) == 0 ? ntohs(address.sin_port) : -1;
}

static int serve_line(modbus_t *context, modbus_mapping_t *map, int unit)
{
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];

    modbus_set_slave(context, unit);
    if (modbus_connect(context) == -1) {
        fprintf(stderr, "open: %s\n", modbus_strerror(errno));
        return 1;
    }
    printf("up\n");
    fflush(stdout);
    for (;;) {
        int length = modbus_receive(context, query);
        if (length > 0)
            modbus_reply(context, query, length, map);
    }
}

int main(int argc, char **argv)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_t *context =
        argc == 5 ? modbus_new_rtu(argv[1], atoi(argv[2]), argv[3][0], 8, 1) : modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(100, 100, 200, 100);
    int fd = -1, i;

    if (context == NULL || map == NULL)
        return 1;
    for (i = 0; i < 100; i++) {
        map->tab_bits[i] = map->tab_input_bits[i] = i % 2;
        map->tab_input_registers[i] = 1000 + i;
    }
    for (i = 0; i < 200; i++)
        map->tab_registers[i] = i;

    if (argc == 5)
        return serve_line(context, map, atoi(argv[4]));

    fd = modbus_tcp_listen(context, 4);
    if (fd == -1) {
        fprintf(stderr, "listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    printf("%d\n", bound_port(fd));
    fflush(stdout);

    while (modbus_tcp_accept(context, &fd) != -1) {
        for (;;) {
            int length = modbus_receive(context, query);
            if (length == -1)
                break;
            if (length > 0)
                modbus_reply(context, query, length, map);
        }
        modbus_close(context);
    }
    return 0;
}
