/* libnvidia-ml.so.1 for a machine without a driver: what it tells is read from the file
 * NVML_STUB_STATE at every call, so that a test can change the machine while it is used.
 *
 * driver CODE                 every call answers this error; 0: the driver is there
 * generation N                a library that was started in another one is uninitialised
 * enumerates now|at_start     which GPUs are listed: those there now, or at nvmlInit
 * gpu UUID TOTAL USED UTILISATION TEMPERATURE MILLIWATTS LOST ECC REMAP_WAITS REMAP_FAILED
 *     RECOVERY MIG NODE CORES NAME
 *                             memory in MiB; MIG 0, 1, or -1: cannot; CORES 0,1,2 or -
 * instance GPU UUID NUMBER TOTAL USED NAME
 * process UUID PID MIB c|g|m  compute, graphics, MPS; MIB -1: not told
 * link UUID UUID              reach each other over NVLink
 * answer FUNCTION CODE UUID|* this call about this GPU fails
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { MOST = 64, NAME = 96 };

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version; int sensor, temperature; } Temperature;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } Process;

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    int type, code;
    u64 value;
} FieldValue;

typedef struct {
    char uuid[NAME], parent[NAME], name[NAME], cores[512];
    u64 total, used;
    int utilization, temperature, milliwatts, lost, ecc, remap_waits, remap_failed, recovery,
        mig, node, number;
} Gpu;

static Gpu gpus[MOST];  /* whole ones and instances, as the file lists them */
static struct { char uuid[NAME]; int pid, mib; char kind; } processes[MOST];
static struct { char one[NAME], other[NAME]; } links[MOST];
static struct { char function[NAME], uuid[NAME]; int code; } answers[MOST];
static int gpu_count, process_count, link_count, answer_count;
static int driver, generation, at_start;

static int starts, started_in;             /* nvmlInit minus nvmlShutdown */
static char listed[MOST][NAME];            /* the GPUs of the last start */
static int listed_count;
static char handles[MOST][NAME];           /* a handle is the address of a UUID */
static int handle_count;

int nvml_stub_pairs_asked;                 /* how often NVLink was asked for */

static void parse(const char *line) {
    Gpu gpu = {0};
    int end = 0;
    char word[16];
    if (sscanf(line, "driver %d", &driver) || sscanf(line, "generation %d", &generation)) return;
    if (sscanf(line, "enumerates %15s", word) == 1) { at_start = !strcmp(word, "at_start"); return; }
    if (sscanf(line, "gpu %95s %llu %llu %d %d %d %d %d %d %d %d %d %d %511s %n", gpu.uuid,
               &gpu.total, &gpu.used, &gpu.utilization, &gpu.temperature, &gpu.milliwatts,
               &gpu.lost, &gpu.ecc, &gpu.remap_waits, &gpu.remap_failed, &gpu.recovery,
               &gpu.mig, &gpu.node, gpu.cores, &end) == 14
        || sscanf(line, "instance %95s %95s %d %llu %llu %n", gpu.parent, gpu.uuid,
                  &gpu.number, &gpu.total, &gpu.used, &end) == 5) {
        snprintf(gpu.name, NAME, "%.*s", (int)strcspn(line + end, "\n"), line + end);
        gpus[gpu_count++] = gpu;
    } else if (sscanf(line, "process %95s %d %d %c", processes[process_count].uuid,
                      &processes[process_count].pid, &processes[process_count].mib,
                      &processes[process_count].kind) == 4) process_count++;
    else if (sscanf(line, "link %95s %95s", links[link_count].one, links[link_count].other) == 2)
        link_count++;
    else if (sscanf(line, "answer %95s %d %95s", answers[answer_count].function,
                    &answers[answer_count].code, answers[answer_count].uuid) == 3) answer_count++;
    else { fprintf(stderr, "nvml_stub: cannot read: %s", line); abort(); }
}

static void load(void) {
    char line[1024];
    FILE *file = fopen(getenv("NVML_STUB_STATE"), "r");
    if (!file) { perror("nvml_stub: NVML_STUB_STATE"); abort(); }
    gpu_count = process_count = link_count = answer_count = 0;
    while (fgets(line, sizeof line, file)) parse(line);
    fclose(file);
}

static Gpu *find(const char *uuid) {
    for (int i = 0; i < gpu_count; i++) if (!strcmp(gpus[i].uuid, uuid)) return &gpus[i];
    return NULL;
}

static Gpu *whole(Gpu *gpu) { return gpu->parent[0] ? find(gpu->parent) : gpu; }

static void *handle_of(const char *uuid) {
    for (int i = 0; i < handle_count; i++) if (!strcmp(handles[i], uuid)) return handles[i];
    return strcpy(handles[handle_count++], uuid);
}

/* Read the file anew; the error of this call, and the GPU of its handle when it has one. */
static int enter(const char *function, void *handle, Gpu **gpu) {
    load();
    if (driver) return driver;
    if (!starts || started_in != generation) return UNINITIALIZED;
    for (int i = 0; i < answer_count; i++)
        if (!strcmp(answers[i].function, function)
            && (answers[i].uuid[0] == '*' || (handle && !strcmp(answers[i].uuid, handle))))
            return answers[i].code;
    if (!handle) return OK;
    *gpu = find(handle);
    if (!*gpu || !whole(*gpu)) return INVALID_ARGUMENT;
    return whole(*gpu)->lost ? GPU_IS_LOST : OK;
}

#define ENTER(handle) \
    Gpu *gpu = NULL; int code = enter(__func__, handle, &gpu); if (code) return code; (void)gpu

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    load();
    if (driver) return driver;
    if (!starts++) {
        started_in = generation;
        listed_count = 0;
        for (int i = 0; i < gpu_count; i++)
            if (!gpus[i].parent[0]) strcpy(listed[listed_count++], gpus[i].uuid);
    }
    return OK;
}

int nvmlShutdown(void) {
    if (!starts) return UNINITIALIZED;
    starts--;
    return OK;
}

const char *nvmlErrorString(int code) {
    static char text[32];
    snprintf(text, sizeof text, "stub error %d", code);
    return text;
}

static void list_now(void) {
    if (at_start) return;
    listed_count = 0;
    for (int i = 0; i < gpu_count; i++)
        if (!gpus[i].parent[0]) strcpy(listed[listed_count++], gpus[i].uuid);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER(NULL);
    list_now();
    *count = listed_count;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    ENTER(NULL);
    list_now();
    if ((int)index >= listed_count) return INVALID_ARGUMENT;
    gpu = find(listed[index]);
    if (!gpu || gpu->lost) return GPU_IS_LOST;
    *device = handle_of(gpu->uuid);
    return OK;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    ENTER(device);
    snprintf(uuid, length, "%s", gpu->uuid);
    return OK;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    ENTER(device);
    snprintf(name, length, "%s", gpu->name);
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    ENTER(device);
    memory->total = gpu->total << 20;
    memory->used = gpu->used << 20;
    memory->free = memory->total - memory->used;
    return OK;
}

int nvmlDeviceGetUtilizationRates(void *device, Utilization *rates) {
    ENTER(device);
    if (gpu->parent[0] || gpu->mig == 1) return NOT_SUPPORTED;
    rates->gpu = rates->memory = gpu->utilization;
    return OK;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *degrees) {
    ENTER(device);
    if (sensor || gpu->parent[0]) return NOT_SUPPORTED;
    *degrees = gpu->temperature;
    return OK;
}

int nvmlDeviceGetTemperatureV(void *device, Temperature *answer) {
    ENTER(device);
    if (answer->sensor || gpu->parent[0]) return NOT_SUPPORTED;
    answer->temperature = gpu->temperature;
    return OK;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    ENTER(device);
    *milliwatts = gpu->milliwatts;
    return OK;
}

int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, u64 *count) {
    ENTER(device);
    *count = type == 1 && counter == 0 ? gpu->ecc : 0;
    return OK;
}

int nvmlDeviceGetRemappedRows(void *device, unsigned *corrected, unsigned *uncorrected,
                              unsigned *waits, unsigned *failed) {
    ENTER(device);
    *corrected = *uncorrected = 0;
    *waits = gpu->remap_waits;
    *failed = gpu->remap_failed;
    return OK;
}

int nvmlDeviceGetFieldValues(void *device, int count, FieldValue *values) {
    ENTER(device);
    for (int i = 0; i < count; i++) {
        values[i].code = values[i].field == 230 ? OK : NOT_SUPPORTED;  /* recovery action */
        values[i].value = gpu->recovery;
    }
    return OK;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    ENTER(device);
    if (gpu->mig < 0) return NOT_SUPPORTED;
    *current = *pending = gpu->mig;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) {
    ENTER(device);
    *count = gpu->mig < 0 ? 0 : 7;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **instance) {
    ENTER(device);
    for (int i = 0; i < gpu_count; i++)
        if (!strcmp(gpus[i].parent, gpu->uuid) && gpus[i].number == (int)index) {
            *instance = handle_of(gpus[i].uuid);
            return OK;
        }
    return NOT_FOUND;
}

static int affinity(Gpu *gpu, unsigned words, u64 *set) {
    memset(set, 0, words * sizeof *set);
    for (char *rest = gpu->cores; *rest && *rest != '-'; rest += *rest == ',') {
        unsigned core = strtoul(rest, &rest, 10);
        if (core / 64 < words) set[core / 64] |= 1ull << core % 64;
    }
    return OK;
}

int nvmlDeviceGetCpuAffinityWithinScope(void *device, unsigned words, u64 *set, int scope) {
    ENTER(device);
    return scope ? NOT_SUPPORTED : affinity(gpu, words, set);
}

int nvmlDeviceGetCpuAffinity(void *device, unsigned words, u64 *set) {
    ENTER(device);
    return affinity(gpu, words, set);
}

int nvmlDeviceGetMemoryAffinity(void *device, unsigned words, u64 *set, int scope) {
    ENTER(device);
    if (scope || gpu->node < 0) return NOT_SUPPORTED;
    memset(set, 0, words * sizeof *set);
    set[gpu->node / 64] |= 1ull << gpu->node % 64;
    return OK;
}

int nvmlDeviceGetP2PStatus(void *device, void *other, int capability, int *status) {
    ENTER(device);
    Gpu *peer = NULL;
    nvml_stub_pairs_asked++;
    if ((code = enter(__func__, other, &peer))) return code;
    *status = 5;
    for (int i = 0; capability == 2 && i < link_count; i++)
        if ((!strcmp(links[i].one, device) && !strcmp(links[i].other, other))
            || (!strcmp(links[i].one, other) && !strcmp(links[i].other, device))) *status = 0;
    return OK;
}

static int list(Gpu *gpu, char kind, unsigned *count, Process *out) {
    unsigned room = *count;
    *count = 0;
    for (int i = 0; i < process_count; i++) {
        if (processes[i].kind != kind || strcmp(processes[i].uuid, gpu->uuid)) continue;
        if (out && *count < room) {
            Process process = {processes[i].pid, (u64)processes[i].mib << 20, ~0u, ~0u};
            if (processes[i].mib < 0) process.used = ~0ull;
            out[*count] = process;
        }
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *out) {
    ENTER(device);
    return list(gpu, 'c', count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, Process *out) {
    ENTER(device);
    return list(gpu, 'g', count, out);
}

int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, unsigned *count, Process *out) {
    ENTER(device);
    return list(gpu, 'm', count, out);
}
