/* A plugin of qemu-user that counts the instructions of a guest, and writes the count at each mark that it sets.
 *
 * A mark is the system call close(MARK), which fails and changes nothing. The guest works on one thread: the counter
 * is not atomic. Compiled and loaded by arm_counts.py.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qemu-plugin.h>

#define CLOSE_OF_AARCH64 57 /* Source: Linux, include/uapi/asm-generic/unistd.h. */
#define MARK -4242

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t instructions;
static FILE *marks;

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &instructions,
                                             qemu_plugin_tb_n_insns(block));
}

static void on_call(qemu_plugin_id_t id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                    uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == CLOSE_OF_AARCH64 && (int32_t)a1 == MARK) {
        fprintf(marks, "%" PRIu64 "\n", instructions);
        fflush(marks);
    }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "marks=", 6) != 0 || (marks = fopen(argv[0] + 6, "w")) == NULL) {
        fprintf(stderr, "marks=FILE is needed, a file that can be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_call);
    return 0;
}
