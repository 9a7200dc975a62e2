import pytest
from accelerate.utils.environment import get_cpu_distributed_information

from vlm2vec.launch import launched

LAUNCHERS = {
    "torchrun": {"RANK": "3", "WORLD_SIZE": "4"},
    "Intel MPI": {"PMI_RANK": "3", "PMI_SIZE": "4"},
    "Open MPI": {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"},
    "MVAPICH": {"MV2_COMM_WORLD_RANK": "3", "MV2_COMM_WORLD_SIZE": "4"},
    "srun alone": {"SLURM_PROCID": "3", "SLURM_NTASKS": "4"},
    "none": {},
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_rank_is_the_one_that_accelerate_finds(launcher, monkeypatch):
    for environment in LAUNCHERS.values():
        for name in environment:
            monkeypatch.delenv(name, raising=False)
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    found = get_cpu_distributed_information()
    assert launched() == (found.rank, found.world_size)
    assert launched() == ((0, 1) if launcher in ("srun alone", "none") else (3, 4))


def test_on_a_gpu_processes_without_a_local_rank_work_by_themselves():
    given = {"RANK": "3", "WORLD_SIZE": "4"}
    assert launched(given, on_gpu=True) == (0, 1)
    assert launched({**given, "LOCAL_RANK": "1"}, on_gpu=True) == (3, 4)
