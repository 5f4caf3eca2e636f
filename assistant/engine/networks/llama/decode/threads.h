/* Threads that wait for work, and for one another. */
#pragma once
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_THREADS = 64, SPINS = 1000 }; /* spins: about 60 us */
static atomic_int arrived, phase, asleep;

static void meet(int threads) {
    /* wait until all are here */
    int now = atomic_load(&phase);
    if (atomic_fetch_add(&arrived, 1) == threads - 1) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&phase, 1);
        if (atomic_load(&asleep)) syscall(SYS_futex, &phase, FUTEX_WAKE_PRIVATE, MOST_THREADS, NULL, NULL, 0);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&phase, memory_order_acquire) == now; spins++) {
        if (spins < SPINS) {
            _mm_pause();
            continue;
        }
        /* another thread isn't running: give it the core, and don't use up our share of it */
        atomic_fetch_add(&asleep, 1);
        syscall(SYS_futex, &phase, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        atomic_fetch_sub(&asleep, 1);
    }
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;
static int started, generation, job_threads;
static void (*job)(void *, int, int);
static void *job_data;
static atomic_int left;

static void *work(void *number) {
    int thread = (int)(intptr_t)number;
    pthread_mutex_lock(&lock);
    for (int seen = generation - 1;;) {
        while (generation == seen) pthread_cond_wait(&begun, &lock);
        seen = generation;
        int threads = job_threads;
        pthread_mutex_unlock(&lock);
        if (thread < threads) {
            job(job_data, thread, threads);
            atomic_fetch_sub(&left, 1);
        }
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

static void forget_threads(void) {
    /* a process that was forked has only the thread that forked, and perhaps locks of others */
    started = 0;
    atomic_store(&left, 0), atomic_store(&arrived, 0), atomic_store(&asleep, 0);
    pthread_mutex_init(&lock, NULL), pthread_mutex_init(&one_at_a_time, NULL), pthread_cond_init(&begun, NULL);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

static void all(void (*task)(void *, int, int), void *data, int threads) {
    /* task(data, thread, threads) by each thread, this one among them; returns when all are done */
    pthread_mutex_lock(&one_at_a_time);
    threads = smaller(threads, MOST_THREADS);
    pthread_mutex_lock(&lock);
    for (; started < threads - 1; started++) {
        pthread_t id;
        if (pthread_create(&id, NULL, work, (void *)(intptr_t)(started + 1))) break;
        pthread_detach(id);
    }
    threads = smaller(threads, started + 1);
    job = task, job_data = data, job_threads = threads, generation++;
    atomic_store(&left, threads - 1);
    pthread_cond_broadcast(&begun);
    pthread_mutex_unlock(&lock);
    task(data, 0, threads);
    while (atomic_load(&left)) sched_yield();
    pthread_mutex_unlock(&one_at_a_time);
}
